"""The plot: a bar chart as SVG, without a library."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.results import Chart

WIDTH, LABELS, VALUES = 900, 260, 90  # pixels: the image, the names on the left, the numbers on the right
BAR, GAP, TITLE = 18, 6, 34
OURS, THEIRS = "#1f6feb", "#9aa4af"


def draw(charts: Sequence[Chart]) -> str:
    """Return the charts, one below the other. The service's bars have their own colour."""
    marks: list[str] = []
    y = 10
    for chart in charts:
        marks += _chart(chart, y)
        y += TITLE + len(chart.bars) * (BAR + GAP) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1f2328">\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(marks) + "\n</svg>\n"
    )


def _chart(chart: Chart, y: int) -> Iterator[str]:
    yield f'<text x="{GAP}" y="{y + 18}" font-size="15" font-weight="600">{escape(chart.title)}</text>'
    longest = max(chart.bars.values(), default=0) or 1
    for number, (name, value) in enumerate(chart.bars.items()):
        top = y + TITLE + number * (BAR + GAP)
        width = round((WIDTH - LABELS - VALUES) * value / longest, 1)
        colour = OURS if chart.all_ours or name.startswith("ours") else THEIRS
        yield f'<text x="{LABELS - GAP}" y="{top + 14}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="{LABELS}" y="{top}" width="{width}" height="{BAR}" rx="2" fill="{colour}"/>'
        yield f'<text x="{LABELS + width + GAP}" y="{top + 14}">{_number(value)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"

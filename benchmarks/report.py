"""Writes docs/benchmarks.md: the goals, the results and the machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plot import draw
from benchmarks.results import Goal, Section

PAGE, PLOT = "benchmarks.md", "benchmarks.svg"

INTRODUCTION = f"""\
# Benchmarks

Written by `make bench`, and by nothing else; [benchmarks/](../benchmarks/README.md) says how it measures. Ours runs
with everything that production has: the join policy, the recorded attempt, request ids, metrics, the access log, the
worker. The peers do the same job with the least work: they have no authentication, no records and no log. All are
one process with ten connections to the same Postgres, which keeps its data safe (fsync on), and share the machine with
it and with the load generator. Absolute figures are those of this machine. A ratio compares two figures of one round,
and the table shows the median over the rounds.

![The measurements as bars]({PLOT})

## Goals
"""


def write_report(kept: dict[str, Any], folder: Path) -> None:
    """Write the page and its plot from the last results of each scenario."""
    sections = [Section.of(each["section"]) for each in kept.values()]
    parts = [INTRODUCTION, goals_table([goal for section in sections for goal in section.goals])]
    for section, said in zip(sections, kept.values(), strict=True):
        parts += [_section(section), _machine(said["machine"], said["options"])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text("\n".join(parts))
    (folder / PLOT).write_text(draw([chart for section in sections for chart in section.charts]))


def goals_table(goals: Sequence[Goal]) -> str:
    rows = [
        [
            goal.what,
            f"{goal.kind} {_format(goal.limit, goal)}",
            _format(goal.aim, goal),
            _format(goal.measured, goal),
            goal.result,
        ]
        for goal in goals
    ]
    return table(["what", "goal", "aim", "measured", "verdict"], rows)


def _format(value: float, goal: Goal) -> str:
    digits = 2 if goal.unit == " times" and value < 10 else 0
    return f"{value:,.{digits}f}".removesuffix(".00") + goal.unit


def _section(section: Section) -> str:
    notes = "".join(f"\n{note}\n" for note in section.notes)
    return f"\n## {section.title}\n\n{section.about}\n\n{table(section.header, section.rows)}{notes}"


def _machine(machine: dict[str, str], options: dict[str, float]) -> str:
    versions = ", ".join(f"{name} {machine[name]}" for name in ("Python", "Node", "Go", "Postgres"))
    return (
        f"Measured on {machine['date']} in {options['rounds']} rounds, {options['seconds']:g} s a load: "
        f"{machine['cores']} cores, {machine['memory']}, {machine['system']}; {versions}.\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"

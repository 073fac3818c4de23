"""Compares expected and actual results, and prints the report of a simulation."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from simulator.history import SECOND, Result
from simulator.options import Options

ENDED = ("COMPLETED", "ABANDONED", "FAILED", "NO_SHOW", "CANCELLED")
MAX_LISTED = 50  # differences; all are counted
ROUNDING = 2  # seconds: LiveKit dates a leave to the second, and detects a lost connection after 19 to 21


@dataclass(frozen=True, slots=True)
class Comparison:
    """The expected and the actual result of one interview; `actual` is None if the deployment did not answer."""

    name: str
    scenario: str
    interview_id: str
    expected: Result
    actual: Result | None
    determinable: bool  # every leave of candidate and agent was delivered, so the result can be known
    short_connection: bool  # a connection was shorter than the delays
    error: str = ""

    @property
    def correct(self) -> bool:
        return self.actual is not None and self.actual.label == self.expected.label

    @property
    def ended_correct(self) -> bool:
        """Whether the deployment knows at least if the interview has ended or is running."""
        return self.actual is not None and (self.actual.status in ENDED) == (self.expected.status in ENDED)

    @property
    def started_off(self) -> int | None:
        """Difference of the starts in milliseconds; None if the status is wrong or a start is missing."""
        return _difference(self.expected.started, self.actual.started) if self.actual and self.correct else None

    @property
    def ended_off(self) -> int | None:
        """Difference of the ends in milliseconds; None if the status is wrong or an end is missing."""
        return _difference(self.expected.ended, self.actual.ended) if self.actual and self.correct else None


@dataclass(slots=True)
class Report:
    options: Options
    comparisons: list[Comparison] = field(default_factory=list)
    webhooks: Counter[str] = field(default_factory=Counter)  # delivered, lost, repeated, dropped, refused
    calls: dict[str, int] = field(default_factory=dict)  # of LiveKit's server API, by the deployment

    @property
    def differences(self) -> list[Comparison]:
        """Wrong results that could be known, and interviews that never end or ended too early."""
        return [each for each in self.comparisons if not each.ended_correct or (each.determinable and not each.correct)]

    @property
    def ok(self) -> bool:
        """Whether the results are correct; a share of those with connections shorter than the delays may be wrong."""
        excusable = all(each.short_connection and each.ended_correct and not each.error for each in self.differences)
        determinable = [each for each in self.comparisons if each.determinable]
        share = sum(each.correct for each in determinable) / len(determinable) if determinable else 1.0
        return excusable and share >= self.options.at_least and not self.webhooks["refused"]

    def text(self) -> str:
        return "\n".join([*self._table(), "", *self._summary(), *self._differences()]) + "\n"

    def _table(self) -> Iterator[str]:
        counts = Counter(
            (each.expected.label, each.actual.label if each.actual else "no answer") for each in self.comparisons
        )
        rows = [("expected", "actual", "count", "")]
        rows += [(e, a, str(n), "" if e == a else "  <--") for (e, a), n in sorted(counts.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for expected, actual, count, mark in rows:
            yield f"{expected:<{widths[0]}}  {actual:<{widths[1]}}  {count:>{widths[2]}}{mark}"

    def _summary(self) -> Iterator[str]:
        everything = self.comparisons
        determinable = [each for each in everything if each.determinable]
        others = [each for each in everything if not each.determinable]
        yield f"interviews: {len(everything)}, correct: {_correct(everything)}"
        yield f"all leaves delivered: {len(determinable)}, correct: {_correct(determinable)}"
        yield f"a leave was lost: {len(others)}, correct anyway: {_correct(others)}"
        yield f"correctly ended or running: {sum(each.ended_correct for each in everything)}"
        yield f"startedAt off by: {_distribution(each.started_off for each in everything)}"
        yield f"endedAt off by: {_distribution(each.ended_off for each in everything)}"
        yield from self._largest_offsets()
        yield f"webhooks: {_counts(self.webhooks)}"
        yield f"LiveKit API calls: {_counts(self.calls)}"

    def _largest_offsets(self) -> Iterator[str]:
        """List the interviews whose end is off by more than the delays explain."""
        tolerance = (self.options.faults.max_delay + ROUNDING) * SECOND
        off = [(each.ended_off or 0, each) for each in self.comparisons if (each.ended_off or 0) > tolerance]
        for offset, each in sorted(off, key=lambda pair: pair[0], reverse=True)[:MAX_LISTED]:
            about = f"{each.interview_id} {each.scenario}: {each.expected.label}"
            yield f"  {about}, endedAt off by {offset / SECOND:.1f} s"

    def _differences(self) -> Iterator[str]:
        found = self.differences
        if not found:
            return
        short = sum(each.short_connection for each in found)
        yield ""
        yield f"differences: {len(found)}, {short} of them with a connection shorter than the delays"
        for each in found[:MAX_LISTED]:
            actual = each.actual.label if each.actual else "no answer"
            why = each.error or ("(short connection)" if each.short_connection else "")
            name = each.interview_id or each.name
            yield f"  {name} {each.scenario}: expected {each.expected.label}, got {actual} {why}".rstrip()


def _difference(expected: int | None, actual: int | None) -> int | None:
    return None if expected is None or actual is None else abs(actual - expected)


def _correct(comparisons: list[Comparison]) -> int:
    return sum(each.correct for each in comparisons)


def _distribution(offsets: Iterable[int | None]) -> str:
    known = sorted(offset for offset in offsets if offset is not None)
    if not known:
        return "no values"
    return f"at most {known[-1] / SECOND:.1f} s, median {known[len(known) // 2] / SECOND:.1f} s"


def _counts(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

"""Expected against actual."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from simulator.history import SECOND, Expected
from simulator.options import Options

OVER = ("COMPLETED", "ABANDONED", "FAILED", "NO_SHOW", "CANCELLED")
SHOWN = 50  # differences listed; all are counted
ROUNDING = 2  # seconds: LiveKit stamps a leave with a whole second, and notices a lost connection after 19 to 21


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one interview, and what should have. `actual` is None where the deployment never told."""

    name: str
    kind: str
    interview_id: str
    expected: Expected
    actual: Expected | None
    determined: bool  # no leave of candidate or agent was lost: the true end could be known
    brief: bool  # a visit was shorter than the delays
    error: str = ""

    @property
    def right(self) -> bool:
        return self.actual is not None and self.actual.key == self.expected.key

    @property
    def over_or_live(self) -> bool:
        """Whether at least that much is right: what is over is over, what lives lives."""
        return self.actual is not None and (self.actual.status in OVER) == (self.expected.status in OVER)


@dataclass(slots=True)
class Report:
    options: Options
    outcomes: list[Outcome] = field(default_factory=list)
    webhooks: Counter[str] = field(default_factory=Counter)  # delivered, lost, repeated, dropped, refused
    calls: dict[str, int] = field(default_factory=dict)  # of LiveKit's server API, by the deployment

    @property
    def differences(self) -> list[Outcome]:
        """All that has to be explained: what could be known and is not so, and what hangs or is over too early."""
        return [o for o in self.outcomes if not o.over_or_live or (o.determined and not o.right)]

    @property
    def ok(self) -> bool:
        """All is right that could be known, but for a share of the interviews with visits briefer than the delays."""
        excusable = all(o.brief and o.over_or_live and not o.error for o in self.differences)
        determined = [o for o in self.outcomes if o.determined]
        share = sum(o.right for o in determined) / len(determined) if determined else 1.0
        return excusable and share >= self.options.at_least and not self.webhooks["refused"]

    def text(self) -> str:
        return "\n".join([*self._table(), "", *self._summary(), *self._differences()]) + "\n"

    def _table(self) -> Iterator[str]:
        counts = Counter((o.expected.key, o.actual.key if o.actual else "no answer") for o in self.outcomes)
        rows = [("expected", "actual", "count", "")]
        rows += [(e, a, str(n), "" if e == a else "  <--") for (e, a), n in sorted(counts.items())]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for expected, actual, count, mark in rows:
            yield f"{expected:<{widths[0]}}  {actual:<{widths[1]}}  {count:>{widths[2]}}{mark}"

    def _summary(self) -> Iterator[str]:
        determined = [o for o in self.outcomes if o.determined]
        guessed = [o for o in self.outcomes if not o.determined]
        yield f"interviews: {len(self.outcomes)}, right {sum(o.right for o in self.outcomes)}"
        yield f"end determined by what was delivered: {len(determined)}, right {sum(o.right for o in determined)}"
        yield f"a leave was lost on the way: {len(guessed)}, right all the same {sum(o.right for o in guessed)}"
        yield f"over or live as is true: {sum(o.over_or_live for o in self.outcomes)}"
        yield f"startedAt off by {_off(o.started for o in self._instants().values())}"
        yield f"endedAt off by {_off(o.ended for o in self._instants().values())}"
        yield from self._furthest_off()
        yield f"webhooks: {_counted(self.webhooks)}"
        yield f"asked by the deployment: {_counted(self.calls)}"

    def _instants(self) -> dict[str, Expected]:
        """By how much the instants of the interviews that are right differ, in milliseconds, by their names."""
        return {
            o.name: Expected(
                "", None, _apart(o.expected.started, o.actual.started), _apart(o.expected.ended, o.actual.ended)
            )
            for o in self.outcomes
            if o.actual and o.right
        }

    def _furthest_off(self) -> Iterator[str]:
        """Name those whose end is told at another instant than the true one, by more than the delays explain."""
        apart = {name: each.ended or 0 for name, each in self._instants().items()}
        off = [o for o in self.outcomes if apart.get(o.name, 0) > (self.options.rates.late + ROUNDING) * SECOND]
        for o in sorted(off, key=lambda o: apart[o.name], reverse=True)[:SHOWN]:
            yield f"  {o.interview_id} {o.kind}: {o.expected.key}, endedAt off by {apart[o.name] / SECOND:.1f} s"

    def _differences(self) -> Iterator[str]:
        found = self.differences
        if not found:
            return
        yield ""
        yield f"differences: {len(found)}, of which {sum(o.brief for o in found)} with a visit shorter than the delays"
        for o in found[:SHOWN]:
            actual = o.actual.key if o.actual else "no answer"
            why = o.error or ("a brief visit" if o.brief else "")
            yield f"  {o.interview_id or o.name} {o.kind}: expected {o.expected.key}, is {actual} {why}".rstrip()


def _apart(expected: int | None, actual: int | None) -> int | None:
    return None if expected is None or actual is None else abs(actual - expected)


def _off(apart: Iterable[int | None]) -> str:
    known = sorted(each for each in apart if each is not None)
    if not known:
        return "nothing: there was none"
    return f"at most {known[-1] / 1000:.1f} s, half of them by at most {known[len(known) // 2] / 1000:.1f} s"


def _counted(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

"""The results of a scenario as data: tables, goals and bars."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and its value. Ratios compare values of one run; `unit` follows each number."""

    what: str
    measured: float
    kind: Literal["at least", "at most"]
    limit: float
    aim: float
    unit: str = " times"

    @property
    def result(self) -> str:
        if self._fits(self.aim):
            return "met, the aim too"
        return "met" if self._fits(self.limit) else "missed"

    def _fits(self, bound: float) -> bool:
        return self.measured >= bound if self.kind == "at least" else self.measured <= bound


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of one unit."""

    title: str
    bars: dict[str, float]
    all_ours: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A scenario's result. `about` describes the method; the cells of `rows` are formatted."""

    title: str
    about: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    """What else was seen: sentences."""
    raw: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, said: dict[str, Any]) -> "Section":
        goals = [Goal(**goal) for goal in said["goals"]]
        return cls(**said | {"goals": goals, "charts": [Chart(**chart) for chart in said["charts"]]})


def median_ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """Return the median of the ratios of each round, whose values were measured within a minute."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us"


def megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"

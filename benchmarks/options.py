"""The options of the benchmarks."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from app.core.embedded_postgres import Server


@dataclass(frozen=True, slots=True)
class Options:
    """The number of rounds, and the sizes of loads and datasets."""

    rounds: int = 3
    seconds: float = 5.0  # of each load
    interviews: int = 1_000_000  # of the large database; the small one has a hundredth
    timeline: int = 10  # rows on the timeline of each
    joinable: int = 100_000  # interviews that are joined
    joins: int = 100_000  # before the last measurement of memory
    candidates: int = 3_000  # at nine o'clock, 25 a second
    listeners: int = 200

    def as_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def quick(cls) -> "Options":
        """Return the smallest options, for a run that only checks that everything works."""
        return cls(1, 2.0, 20_000, 10, 2_000, 5_000, 100, 20)


@dataclass(frozen=True, slots=True)
class Bench:
    """The input of a scenario: the options, the shared Postgres, a folder for its files."""

    options: Options
    postgres: Server
    folder: Path


def parser(scenarios: list[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line; defaults are those of Options, or of a quick run."""
    found = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    found.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(scenarios)}; without one all")
    found.add_argument("--quick", action="store_true", help="as little as shows that all works")
    found.add_argument("--docs", type=Path, help="the folder for benchmarks.md and its plot instead of docs")
    for name in Options.__slots__:
        found.add_argument(f"--{name}", type=type(getattr(Options(), name)))
    return found


def options_of(arguments: argparse.Namespace) -> Options:
    base = Options.quick() if arguments.quick else Options()
    given = {name: getattr(arguments, name) for name in Options.__slots__}
    return Options(**{name: getattr(base, name) if value is None else value for name, value in given.items()})

"""Registers the scenarios, and generates random histories of them.

A history knows its correct result because its scenario states it; no rule of the service is applied.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from simulator.history import History
from simulator.history_builder import HistoryBuilder
from simulator.timing import DETECTION_TIME, MARGIN, Timing

Build = Callable[[HistoryBuilder], None]
Fits = Callable[[Timing], bool]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`weight` is its relative frequency. `fits` returns whether its result is clear with these waits."""

    name: str
    build: Build
    weight: int
    fits: Fits
    needs_dispatch: bool  # the deployment dispatches agents: AGENT_NAME is set
    needs_polling: bool  # no event shows it, only LiveKit's API does


SCENARIOS: dict[str, Scenario] = {}


def always(timing: Timing) -> bool:
    return True


def detects_disconnect_within_grace(timing: Timing) -> bool:
    """LiveKit detects a lost connection before the grace after it is over."""
    return timing.candidate_grace > DETECTION_TIME + 2 * MARGIN


def separates_waiting_from_looking_in(timing: Timing) -> bool:
    """A candidate can wait clearly longer than CANDIDATE_WAITED, and leave before AGENT_WAIT is over."""
    return timing.candidate_waited > 2 * MARGIN and timing.agent_wait > timing.candidate_waited + 3 * MARGIN


def scenario(
    weight: int, fits: Fits = always, *, needs_dispatch: bool = False, needs_polling: bool = False
) -> Callable[[Build], Build]:
    """Register a function as the scenario of its name."""

    def register(build: Build) -> Build:
        SCENARIOS[build.__name__] = Scenario(build.__name__, build, weight, fits, needs_dispatch, needs_polling)
        return build

    return register


def usable_scenarios(
    timing: Timing, *, names: Iterable[str] = (), dispatch: bool = False, polling: bool = True
) -> list[Scenario]:
    return [
        each
        for each in (SCENARIOS[name] for name in names or SCENARIOS)
        if each.fits(timing) and (dispatch or not each.needs_dispatch) and (polling or not each.needs_polling)
    ]


def unusable_scenarios(timing: Timing) -> list[str]:
    """Return the names of the scenarios that have no clear result with these waits."""
    return [each.name for each in SCENARIOS.values() if not each.fits(timing)]


def generate(
    rng: Random, count: int, timing: Timing, *, names: Iterable[str] = (), dispatch: bool = False, polling: bool = True
) -> list[History]:
    """Return `count` random histories. The same `rng` state gives the same histories.

    `names` selects scenarios; empty selects all. `dispatch`: the deployment dispatches missing agents. `polling`: it
    asks LiveKit's API who is in the room.
    """
    scenarios = usable_scenarios(timing, names=names, dispatch=dispatch, polling=polling)
    chosen = rng.choices(scenarios, [each.weight for each in scenarios], k=count)
    return [generate_one(rng, each.name, timing, name=f"{number:05}") for number, each in enumerate(chosen)]


def generate_one(rng: Random, scenario_name: str, timing: Timing, name: str = "") -> History:
    interview = HistoryBuilder(rng, timing)
    SCENARIOS[scenario_name].build(interview)
    return interview.build(name or scenario_name, scenario_name)

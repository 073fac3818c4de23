"""The register of the kinds of histories, and at which pace each of them can be told from the others."""

from collections.abc import Callable
from dataclasses import dataclass

from simulator.history_builder import Story
from simulator.timing import MARGIN, NOTICE, Pace

Tell = Callable[[Story], None]
Fits = Callable[[Pace], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """`weight` is how often it happens beside the others; `fits` tells at which pace it can be told apart."""

    name: str
    tell: Tell
    weight: int
    fits: Fits
    needs_dispatch: bool  # the deployment dispatches agents (AGENT_NAME is set)
    needs_asking: bool  # no event tells it: only asking LiveKit does


KINDS: dict[str, Kind] = {}


def always(pace: Pace) -> bool:
    return True


def slow(pace: Pace) -> bool:
    """LiveKit notices a lost connection before the grace after it is over."""
    return pace.grace > NOTICE + 2 * MARGIN


def patient(pace: Pace) -> bool:
    """A candidate can wait noticeably longer than one who just looked in, and be gone before it is given up."""
    return pace.waited > 2 * MARGIN and pace.agent > pace.waited + 3 * MARGIN


def kind(
    weight: int, fits: Fits = always, *, needs_dispatch: bool = False, needs_asking: bool = False
) -> Callable[[Tell], Tell]:
    def register(tell: Tell) -> Tell:
        KINDS[tell.__name__] = Kind(tell.__name__, tell, weight, fits, needs_dispatch, needs_asking)
        return tell

    return register

"""Random true histories of interviews. Each says how it ends by the way it was made, and by no rule beside that."""

from collections.abc import Iterable
from random import Random

from simulator.history import History
from simulator.history_builder import Story
from simulator.scenarios import agent, candidate, other
from simulator.scenarios.registry import KINDS, Kind
from simulator.timing import Pace

PLOTS = (agent, candidate, other)
"""Importing them fills the register."""


def some(
    rng: Random, count: int, pace: Pace, *, names: Iterable[str] = (), dispatch: bool = False, asking: bool = True
) -> list[History]:
    """`count` random histories of the kinds that fit; the same generator gives the same ones.

    `names` chooses the kinds (all, if empty). With `dispatch` the deployment sends agents where one is missing, with
    `asking` it asks LiveKit who is there.
    """
    kinds = usable(pace, names=names, dispatch=dispatch, asking=asking)
    chosen = rng.choices(kinds, [kind.weight for kind in kinds], k=count)
    return [one(rng, kind.name, pace, name=f"{number:05}") for number, kind in enumerate(chosen)]


def usable(pace: Pace, *, names: Iterable[str] = (), dispatch: bool = False, asking: bool = True) -> list[Kind]:
    return [
        kind
        for kind in (KINDS[name] for name in names or KINDS)
        if kind.fits(pace) and (dispatch or not kind.needs_dispatch) and (asking or not kind.needs_asking)
    ]


def left_out(pace: Pace) -> list[str]:
    """The kinds that nobody could tell apart at this pace."""
    return [kind.name for kind in KINDS.values() if not kind.fits(pace)]


def one(rng: Random, kind_name: str, pace: Pace, name: str = "") -> History:
    """One history of that kind."""
    story = Story(rng, pace)
    KINDS[kind_name].tell(story)
    return story.told(name or kind_name, kind_name)

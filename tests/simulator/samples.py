"""Simulated histories and events for the tests, and a clock."""

from random import Random

from simulator.events import Event, Placement, events_of
from simulator.history import History, Role
from simulator.livekit_state import LiveKitState, SimulatedInterview
from simulator.scenarios.registry import generate_one
from simulator.timing import Timing

KEY, SECRET = "devkey", "a secret of thirty-two characters"
PLACEMENT = Placement("interview-1", "candidate-1", origin=1_772_355_600_123, metadata='{"jobTitle":"مهندس"}')


def rng(seed: object) -> Random:
    return Random(str(seed))  # noqa: S311 - repeatable, not secret


def history(scenario: str, seed: int = 0, timing: Timing | None = None) -> History:
    return generate_one(rng(f"{scenario} {seed}"), scenario, timing or Timing())


def events(scenario: str, seed: int = 0) -> list[Event]:
    return events_of(history(scenario, seed), PLACEMENT)


def role(event: Event) -> Role | None:
    return event.connection.role if event.connection else None


class ManualClock:
    """A clock that the test sets, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.now = PLACEMENT.origin

    def __call__(self) -> int:
        return self.now


def start(state: LiveKitState, scenario: str) -> SimulatedInterview:
    return state.add(history(scenario), PLACEMENT)


def middle_of_talk(interview: SimulatedInterview) -> int:
    started = interview.history.expected.started
    assert started is not None
    return PLACEMENT.origin + started + 3000  # after the avatar and the recruiter have joined

"""derive() against the reference model: two independent implementations of the table, on the same random attempts.

First derive() gets the attempts as they truly were, so that every difference is one of interpretation. In half of them
all instants are whole seconds and coincide. Then it gets simulated histories as LiveKit reports them.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest

from app import lifecycle
from simulator.delivery import Faults, schedule
from simulator.events import Placement, events_of
from simulator.history import History, Role
from simulator.scenarios.registry import SCENARIOS, generate
from simulator.timing import Timing
from tests import reference_model
from tests.lifecycle.random_truths import (
    ALL_OVER,
    SAME_TIMEOUTS,
    SEEDS,
    TIMEOUTS,
    at,
    end_of,
    facts_of,
    is_judged,
    random_truth,
    replayed,
)
from tests.simulator.replay import Replay, millis_of, moment

ORIGIN = 1_772_355_600_000  # milliseconds since 1970


def compare_when_all_is_known_in_time(seed: int) -> None:
    truth = random_truth(seed)
    for now, _, derived in replayed(truth, at(ALL_OVER)):
        if not is_judged(truth, now):
            continue
        assert end_of(derived) == reference_model.expected_end(truth, now, TIMEOUTS), (seed, now, truth)
        talking = now - derived.talking_since if derived.talking_since else timedelta()
        assert derived.talk_time + talking == reference_model.talk_time(truth, now, TIMEOUTS), (seed, now, truth)


def compare_when_all_is_known_at_once(seed: int) -> None:
    truth = random_truth(seed)
    for second in (seed % 150, ALL_OVER):
        now = at(second, 999)
        derived = lifecycle.derive(facts_of(truth, now), now, SAME_TIMEOUTS)
        assert end_of(derived) == reference_model.expected_end(truth, now, TIMEOUTS), (seed, second, truth)


@pytest.mark.parametrize("compare", [compare_when_all_is_known_in_time, compare_when_all_is_known_at_once])
@pytest.mark.parametrize("part", range(6))
def test_both_read_the_table_alike(compare: Callable[[int], None], part: int) -> None:
    for seed in SEEDS[part::6]:
        compare(seed)


@pytest.mark.soak
def test_both_read_the_table_alike_for_long() -> None:
    """Each time with other seeds."""
    first = Random().randrange(10**9)  # noqa: S311 - no secret
    for seed in range(first, first + 100_000):
        compare_when_all_is_known_in_time(seed)
        compare_when_all_is_known_at_once(seed)


# Simulated histories, as LiveKit tells them


def derive_history(history: History, faults: Faults, rng: Random) -> tuple[lifecycle.Derived, Placement, bool]:
    """What is derived in the end, and whether every leave of candidate and agents was heard of."""
    place = Placement("interview-1", "candidate-1", ORIGIN + rng.randrange(1000))
    replay = Replay(history, place, lifecycle.Timeouts())
    replay.state.interviews[place.room_name].dispatches.append(0)  # as if an agent had been dispatched
    events = events_of(history, place)
    deliveries = schedule(events, faults, rng)
    until = place.origin + history.end + 300_000
    *_, (_, derived) = replay.play([delivery for delivery in deliveries if delivery.at < until], until)
    heard = {delivery.event.id for delivery in deliveries}
    lost = [event for event in events if event.name == "participant_left" and event.id not in heard]
    return (
        derived,
        place,
        not any(event.connection and event.connection.role in (Role.CANDIDATE, Role.AGENT) for event in lost),
    )


def label(derived: lifecycle.Derived) -> str:
    return f"{derived.status} / {derived.end_reason}" if derived.end_reason else str(derived.status)


@pytest.mark.parametrize("seed", range(3))
def test_what_livekit_tells_at_once_is_understood(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, place, _ = derive_history(history, Faults(), rng)
        expected = history.expected
        assert label(derived) == expected.label, history
        assert derived.started_at == maybe_moment(expected.started, place)
        if expected.ended is not None and not SCENARIOS[history.scenario].needs_polling:
            ended = derived.ended_at and millis_of(derived.ended_at) - place.origin
            assert ended == pytest.approx(expected.ended, abs=2000), history


@pytest.mark.parametrize("seed", range(3))
def test_what_livekit_tells_late_and_twice_is_understood(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, place, _ = derive_history(history, Faults(repeated=0.2, max_delay=30), rng)
        assert label(derived) == history.expected.label, history
        assert derived.started_at == maybe_moment(history.expected.started, place)


@pytest.mark.parametrize("seed", range(3))
def test_what_livekit_loses_is_inferred_or_guessed_but_never_left_hanging(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, _, is_determined = derive_history(history, Faults(lost=0.3, repeated=0.2, max_delay=30), rng)
        assert (derived.ended_at is None) == (history.expected.ended is None), history
        assert label(derived) == history.expected.label or not is_determined, history


@pytest.mark.parametrize("seed", range(3))
def test_a_room_out_of_order_never_hangs(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, _, _ = derive_history(history, Faults(repeated=0.2, max_delay=30, in_order=False), rng)
        assert (derived.ended_at is None) == (history.expected.ended is None), history


def maybe_moment(millis: int | None, place: Placement) -> datetime | None:
    return None if millis is None else moment(place.origin + millis)

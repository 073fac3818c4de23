"""derive() against the oracle: two readings of the design's table, made apart, of the same random attempts.

First the attempts are told to derive() as they truly were, to the millisecond, so that every difference is one of
reading. Then simulated histories are told as LiveKit tells them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import lifecycle
from simulator.delivery import Faults, schedule
from simulator.events import Placement, events_of
from simulator.history import History, Role
from simulator.scenarios.registry import SCENARIOS, generate
from simulator.timing import Timing
from tests import reference_model
from tests.simulator.replay import Replay, millis_of, moment

ORIGIN = 1_772_355_600_000  # milliseconds since 1970
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
WAITS = reference_model.Timeouts(
    grace=timedelta(seconds=12),
    agent=timedelta(seconds=9),
    token=timedelta(seconds=10),
    open_end=timedelta(seconds=200),
    waited=timedelta(seconds=4),
    amend=timedelta(seconds=20),
)
SAME_WAITS = lifecycle.Timeouts(
    grace=WAITS.grace,
    agent=WAITS.agent,
    token=WAITS.token,
    idle=WAITS.open_end,
    waited=WAITS.waited,
    amend=WAITS.amend,
)
FINISHED = timedelta(milliseconds=10)  # from a room's deletion to its room_finished, after which it is judged
LONGEST = 60  # seconds of an attempt's maxDuration
CANDIDATE_REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY", "UNKNOWN")
# Not ROOM_CLOSED: LiveKit gives it only once the candidate is gone, and derive() leans on that.
AGENT_REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "SERVER_SHUTDOWN")

# Every kind of instant has a fraction of a second of its own, so that nothing is ever a matter of who is asked first.
JOIN, CLOSE, TOKEN, LEAVE, REPORT, CANCEL, DELETE = 0, 50, 100, 250, 600, 900, 950


def at(seconds: int, millis: int = 0) -> datetime:
    return START + timedelta(seconds=seconds, milliseconds=millis)


def after(draw: st.DrawFn, shortest: int = 0, longest: int = 25) -> int:
    return draw(st.integers(shortest, longest))


@st.composite
def candidate_visits(draw: st.DrawFn) -> tuple[reference_model.Session, ...]:
    """One after the other, the last one perhaps for ever."""
    found: list[reference_model.Session] = []
    now = after(draw)
    for _ in range(draw(st.integers(0, 4))):
        left = now + after(draw)
        found.append(reference_model.Session(at(now, JOIN), at(left, LEAVE), draw(st.sampled_from(CANDIDATE_REASONS))))
        now = left + 1 + after(draw)
    stays = draw(st.booleans())
    if found and stays:
        found[-1] = replace(found[-1], left=None)
    return tuple(found)


@st.composite
def agent_visits(draw: st.DrawFn) -> tuple[reference_model.Session, ...]:
    """Overlapping or not, each with a millisecond of its own."""
    found = []
    for number in range(draw(st.integers(0, 3))):
        joined = after(draw, 0, 60)
        left = at(joined + after(draw), LEAVE + 500 + number) if draw(st.integers(0, 3)) else None
        reason = draw(st.sampled_from(AGENT_REASONS))
        announced = draw(st.sampled_from((None, None, "pending", "completed", "failed")))
        found.append(reference_model.Session(at(joined, JOIN + 500 + number), left, reason, announced))
    return tuple(found)


def seconds(kind: int) -> st.SearchStrategy[datetime]:
    return st.integers(0, 110).map(lambda second: at(second, kind))


def sometimes(kind: int) -> st.SearchStrategy[datetime | None]:
    return st.one_of(st.none(), st.none(), seconds(kind))


@st.composite
def truths(draw: st.DrawFn) -> reference_model.Truth:
    reports = draw(st.lists(st.tuples(seconds(REPORT), st.sampled_from(("completed", "failed"))), max_size=2))
    truth = reference_model.Truth(
        max_duration=timedelta(seconds=LONGEST),
        closes_at=draw(sometimes(CLOSE)),
        tokens=tuple(draw(st.lists(seconds(TOKEN), max_size=2))),
        candidate=draw(candidate_visits()),
        agents=draw(agent_visits()),
        reports=tuple(reference_model.Report(said, outcome) for said, outcome in reports),
        cancelled=draw(sometimes(CANCEL)),
    )
    deleted = draw(sometimes(DELETE))
    return without_tokens_after_the_end(with_room_deleted(truth, deleted) if deleted else truth)


def without_tokens_after_the_end(truth: reference_model.Truth) -> reference_model.Truth:
    """Nobody is let in any more; a token issued while a due deadline is undecided puts the window's end off."""
    kept: tuple[datetime, ...] = ()
    for token in sorted(truth.tokens):
        if reference_model.expected_end(replace(truth, tokens=kept), token, WAITS).ended_at is None:
            kept += (token,)
    return replace(truth, tokens=kept)


def with_room_deleted(truth: reference_model.Truth, deleted: datetime) -> reference_model.Truth:
    """Whoever is there is put out, the candidate first, one agent after the other; who comes later has a new room."""

    def put_out(visit: reference_model.Session, later: int = 0) -> reference_model.Session:
        there = reference_model.connected(visit, deleted)
        return replace(visit, left=deleted + timedelta(milliseconds=later), reason="ROOM_DELETED") if there else visit

    return replace(
        truth,
        deletions=(deleted,),
        candidate=tuple(put_out(visit) for visit in truth.candidate),
        agents=tuple(put_out(agent, later) for later, agent in enumerate(truth.agents, start=1)),
    )


@dataclass(frozen=True)
class Step:
    """A coming or going as LiveKit's queue has it; of leaves at one instant the candidate's comes first."""

    at: datetime
    rank: int
    sid: str


def facts_of(truth: reference_model.Truth, now: datetime) -> lifecycle.Facts:
    """All that is known of the truth at `now`, when LiveKit was asked and nothing had been lost or was late."""
    participant_sessions = [(f"candidate-{n}", visit) for n, visit in enumerate(truth.candidate)]
    participant_sessions += [(f"agent-{n}", visit) for n, visit in enumerate(truth.agents)]
    known = [(sid, visit) for sid, visit in participant_sessions if visit.joined <= now]
    joined = [Step(visit.joined, 2, sid) for sid, visit in known]
    left = [Step(visit.left, sid.startswith("agent"), sid) for sid, visit in known if visit.left and visit.left <= now]
    order = {
        step: number for number, step in enumerate(sorted([*joined, *left], key=lambda s: (s.at, s.rank)), start=1)
    }
    orders = {(step.sid, step.rank == 2): number for step, number in order.items()}
    tokens = [said for said in truth.tokens if said <= now]
    return lifecycle.Facts(
        max_duration=truth.max_duration,
        closes_at=truth.closes_at,
        connections=tuple(connection(truth, sid, visit, orders) for sid, visit in known),
        rooms=rooms_of(truth, now),
        last_token_at=max(tokens, default=None),
        cancelled_at=truth.cancelled if truth.cancelled and truth.cancelled <= now else None,
        reports=tuple(
            lifecycle.Report(report.said, lifecycle.Outcome(report.outcome))
            for report in truth.reports
            if truth.started and truth.started <= report.said <= now  # before the start it is refused, and no fact
        ),
        asked_at=now,
    )


def connection(
    truth: reference_model.Truth, sid: str, visit: reference_model.Session, orders: dict[tuple[str, bool], int]
) -> lifecycle.Connection:
    left_order = orders.get((sid, False))
    is_candidate = sid.startswith("candidate")
    return lifecycle.Connection(
        sid=sid,
        room_sid=room_at(truth, visit.joined),
        identity="candidate" if is_candidate else sid,
        role=lifecycle.Role.CANDIDATE if is_candidate else lifecycle.Role.AGENT,
        joined_at=visit.joined,
        joined_order=orders[sid, True],
        left_at=visit.left if left_order else None,
        left_order=left_order,
        leave_reason=visit.reason if left_order else None,
        outcome=lifecycle.Outcome(visit.announced) if visit.announced and left_order else None,
    )


def room_at(truth: reference_model.Truth, instant: datetime) -> str:
    return f"room-{sum(deleted <= instant for deleted in truth.deletions)}"


def rooms_of(truth: reference_model.Truth, now: datetime) -> tuple[lifecycle.Room, ...]:
    joins = [visit.joined for visit in truth.candidate + truth.agents if visit.joined <= now]
    found = []
    for sid in sorted({room_at(truth, joined) for joined in joins}):
        created = min(joined for joined in joins if room_at(truth, joined) == sid)
        finished = [deleted + FINISHED for deleted in truth.deletions if sid == "room-0" and created < deleted]
        found.append(lifecycle.Room(sid, created, next((instant for instant in finished if instant <= now), None)))
    return tuple(found)


def instants_of(truth: reference_model.Truth) -> list[datetime]:
    participant_sessions = truth.candidate + truth.agents
    known = [
        truth.cancelled,
        *(instant + FINISHED for instant in truth.deletions),
        *truth.tokens,
        *(report.said for report in truth.reports),
    ]
    known += [instant for visit in participant_sessions for instant in (visit.joined, visit.left)]
    return sorted({instant for instant in known if instant})


def played(truth: reference_model.Truth, until: datetime) -> Iterator[tuple[datetime, lifecycle.Derived]]:
    """Settle at everything that happens and at every deadline, each in time, keeping the decision."""
    decision = None
    now = START
    ahead = [*instants_of(truth), until]
    while ahead:
        derived = lifecycle.derive(replace(facts_of(truth, now), decision=decision), now, SAME_WAITS)
        decision = derived.decision
        yield now, derived
        deadline = derived.next_deadline_at
        now = deadline if deadline and now < deadline < ahead[0] else ahead.pop(0)


def end_of(derived: lifecycle.Derived) -> reference_model.ExpectedEnd:
    return reference_model.ExpectedEnd(derived.status, derived.end_reason, derived.started_at, derived.ended_at)


@settings(max_examples=500, deadline=None)
@given(truths())
def test_both_read_the_table_alike_when_all_is_known_in_time(truth: reference_model.Truth) -> None:
    for now, derived in played(truth, at(400)):
        if any(deleted <= now < deleted + FINISHED for deleted in truth.deletions):
            continue
        assert end_of(derived) == reference_model.expected_end(truth, now, WAITS), now
        talking = now - derived.talking_since if derived.talking_since else timedelta()
        assert derived.talk_time + talking == reference_model.talk_time(truth, now, WAITS), now


@settings(max_examples=500, deadline=None)
@given(truths(), st.lists(st.integers(0, 150), max_size=4))
def test_both_read_the_table_alike_when_all_is_known_at_once(
    truth: reference_model.Truth, presence_changes: list[int]
) -> None:
    for second in [*presence_changes, 400]:
        now = at(second, 999)
        derived = lifecycle.derive(facts_of(truth, now), now, SAME_WAITS)
        assert end_of(derived) == reference_model.expected_end(truth, now, WAITS), second


# Simulated histories, as LiveKit tells them


def told(history: History, faults: Faults, rng: Random) -> tuple[lifecycle.Derived, Placement, bool]:
    """What is derived in the end, and whether every leave of candidate and agents was heard of."""
    place = Placement("interview-1", "candidate-1", ORIGIN + rng.randrange(1000))
    replay = Replay(history, place, lifecycle.Timeouts())
    replay.state.interviews[place.room_name].dispatches.append(0)  # whoever has to be sent for was
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


def key(derived: lifecycle.Derived) -> str:
    return f"{derived.status} / {derived.end_reason}" if derived.end_reason else str(derived.status)


@pytest.mark.parametrize("seed", range(3))
def test_what_livekit_tells_at_once_is_understood(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, place, _ = told(history, Faults(), rng)
        expected = history.expected
        assert key(derived) == expected.label, history
        assert derived.started_at == maybe_moment(expected.started, place)
        if expected.ended is not None and not SCENARIOS[history.scenario].needs_polling:
            ended = derived.ended_at and millis_of(derived.ended_at) - place.origin
            assert ended == pytest.approx(expected.ended, abs=2000), history


@pytest.mark.parametrize("seed", range(3))
def test_what_livekit_tells_late_and_twice_is_understood(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, place, _ = told(history, Faults(repeated=0.2, max_delay=30), rng)
        assert key(derived) == history.expected.label, history
        assert derived.started_at == maybe_moment(history.expected.started, place)


@pytest.mark.parametrize("seed", range(3))
def test_what_livekit_loses_is_inferred_or_guessed_but_never_left_hanging(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, _, is_determined = told(history, Faults(lost=0.3, repeated=0.2, max_delay=30), rng)
        assert (derived.ended_at is None) == (history.expected.ended is None), history
        assert key(derived) == history.expected.label or not is_determined, history


@pytest.mark.parametrize("seed", range(3))
def test_a_room_out_of_order_never_hangs(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    for history in generate(rng, 200, Timing(), dispatch=True):
        derived, _, _ = told(history, Faults(repeated=0.2, max_delay=30, in_order=False), rng)
        assert (derived.ended_at is None) == (history.expected.ended is None), history


def maybe_moment(millis: int | None, place: Placement) -> datetime | None:
    return None if millis is None else moment(place.origin + millis)

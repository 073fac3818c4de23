"""derive() against the reference model: two independent implementations of the table, on the same random attempts.

First derive() gets the attempts as they truly were, to the millisecond, so that every difference is one of
interpretation. Then it gets simulated histories as LiveKit reports them.
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
TIMEOUTS = reference_model.Timeouts(
    candidate_grace=timedelta(seconds=12),
    agent_wait=timedelta(seconds=9),
    token_wait=timedelta(seconds=10),
    idle_timeout=timedelta(seconds=200),
    candidate_waited=timedelta(seconds=4),
    amend_window=timedelta(seconds=20),
)
SAME_TIMEOUTS = lifecycle.Timeouts(
    candidate_grace=TIMEOUTS.candidate_grace,
    agent_wait=TIMEOUTS.agent_wait,
    token_wait=TIMEOUTS.token_wait,
    idle_timeout=TIMEOUTS.idle_timeout,
    candidate_waited=TIMEOUTS.candidate_waited,
    amend_window=TIMEOUTS.amend_window,
)
FINISHED = timedelta(milliseconds=10)  # from a room's deletion to its room_finished, after which its rule applies
LONGEST = 60  # seconds of an attempt's maxDuration
CANDIDATE_REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY", "UNKNOWN")
# Not ROOM_CLOSED: LiveKit gives it only once the candidate is gone, and derive() leans on that.
AGENT_REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "SERVER_SHUTDOWN")

# Every kind of instant has a fraction of a second of its own, so that nothing is ever a matter of who is asked first.
JOIN, CLOSE, TOKEN, LEAVE, REPORT, CANCEL, DELETE = 0, 50, 100, 250, 600, 900, 950


def at(seconds: int, millis: int = 0) -> datetime:
    return START + timedelta(seconds=seconds, milliseconds=millis)


def seconds_after(draw: st.DrawFn, shortest: int = 0, longest: int = 25) -> int:
    return draw(st.integers(shortest, longest))


@st.composite
def candidate_sessions(draw: st.DrawFn) -> tuple[reference_model.Session, ...]:
    """One after the other, the last one perhaps for ever."""
    found: list[reference_model.Session] = []
    now = seconds_after(draw)
    for _ in range(draw(st.integers(0, 4))):
        left = now + seconds_after(draw)
        found.append(reference_model.Session(at(now, JOIN), at(left, LEAVE), draw(st.sampled_from(CANDIDATE_REASONS))))
        now = left + 1 + seconds_after(draw)
    stays = draw(st.booleans())
    if found and stays:
        found[-1] = replace(found[-1], left=None)
    return tuple(found)


@st.composite
def agent_sessions(draw: st.DrawFn) -> tuple[reference_model.Session, ...]:
    """Overlapping or not, each with a millisecond of its own."""
    found = []
    for number in range(draw(st.integers(0, 3))):
        joined = seconds_after(draw, 0, 60)
        left = at(joined + seconds_after(draw), LEAVE + 500 + number) if draw(st.integers(0, 3)) else None
        reason = draw(st.sampled_from(AGENT_REASONS))
        announced = draw(st.sampled_from((None, None, "pending", "completed", "failed")))
        found.append(reference_model.Session(at(joined, JOIN + 500 + number), left, reason, announced))
    return tuple(found)


def seconds(kind: int) -> st.SearchStrategy[datetime]:
    return st.integers(0, 110).map(lambda second: at(second, kind))


def maybe_seconds(kind: int) -> st.SearchStrategy[datetime | None]:
    return st.one_of(st.none(), st.none(), seconds(kind))


@st.composite
def truths(draw: st.DrawFn) -> reference_model.Truth:
    reports = draw(st.lists(st.tuples(seconds(REPORT), st.sampled_from(("completed", "failed"))), max_size=2))
    truth = reference_model.Truth(
        max_duration=timedelta(seconds=LONGEST),
        closes_at=draw(maybe_seconds(CLOSE)),
        tokens=tuple(draw(st.lists(seconds(TOKEN), max_size=2))),
        candidate=draw(candidate_sessions()),
        agents=draw(agent_sessions()),
        reports=tuple(reference_model.Report(reported_at, outcome) for reported_at, outcome in reports),
        cancelled=draw(maybe_seconds(CANCEL)),
    )
    deleted = draw(maybe_seconds(DELETE))
    return without_tokens_after_the_end(with_room_deleted(truth, deleted) if deleted else truth)


def without_tokens_after_the_end(truth: reference_model.Truth) -> reference_model.Truth:
    """Nobody is let in any more; a token issued while a due deadline is undecided puts the window's end off."""
    kept: tuple[datetime, ...] = ()
    for token in sorted(truth.tokens):
        if reference_model.expected_end(replace(truth, tokens=kept), token, TIMEOUTS).ended_at is None:
            kept += (token,)
    return replace(truth, tokens=kept)


def with_room_deleted(truth: reference_model.Truth, deleted: datetime) -> reference_model.Truth:
    """All present are removed, the candidate first, then one agent after the other; a later join creates a new room."""

    def removed(session: reference_model.Session, later: int = 0) -> reference_model.Session:
        there = reference_model.connected(session, deleted)
        return (
            replace(session, left=deleted + timedelta(milliseconds=later), reason="ROOM_DELETED") if there else session
        )

    return replace(
        truth,
        deletions=(deleted,),
        candidate=tuple(removed(session) for session in truth.candidate),
        agents=tuple(removed(agent, later) for later, agent in enumerate(truth.agents, start=1)),
    )


@dataclass(frozen=True)
class Step:
    """A coming or going as LiveKit's queue has it; of leaves at one instant the candidate's comes first."""

    at: datetime
    rank: int
    sid: str


def facts_of(truth: reference_model.Truth, now: datetime) -> lifecycle.Facts:
    """All that is known of the truth at `now`, when LiveKit was asked and nothing had been lost or was late."""
    participant_sessions = [(f"candidate-{n}", session) for n, session in enumerate(truth.candidate)]
    participant_sessions += [(f"agent-{n}", session) for n, session in enumerate(truth.agents)]
    known = [(sid, session) for sid, session in participant_sessions if session.joined <= now]
    joined = [Step(session.joined, 2, sid) for sid, session in known]
    left = [
        Step(session.left, sid.startswith("agent"), sid)
        for sid, session in known
        if session.left and session.left <= now
    ]
    order = {
        step: number for number, step in enumerate(sorted([*joined, *left], key=lambda s: (s.at, s.rank)), start=1)
    }
    orders = {(step.sid, step.rank == 2): number for step, number in order.items()}
    tokens = [token for token in truth.tokens if token <= now]
    return lifecycle.Facts(
        max_duration=truth.max_duration,
        closes_at=truth.closes_at,
        connections=tuple(connection(truth, sid, session, orders) for sid, session in known),
        rooms=rooms_of(truth, now),
        last_token_at=max(tokens, default=None),
        cancelled_at=truth.cancelled if truth.cancelled and truth.cancelled <= now else None,
        reports=tuple(
            lifecycle.Report(report.reported_at, lifecycle.Outcome(report.outcome))
            for report in truth.reports
            if truth.started
            and truth.started <= report.reported_at <= now  # before the start it is refused, and no fact
        ),
        checked_at=now,
    )


def connection(
    truth: reference_model.Truth, sid: str, session: reference_model.Session, orders: dict[tuple[str, bool], int]
) -> lifecycle.Connection:
    left_order = orders.get((sid, False))
    is_candidate = sid.startswith("candidate")
    return lifecycle.Connection(
        sid=sid,
        room_sid=room_at(truth, session.joined),
        identity="candidate" if is_candidate else sid,
        role=lifecycle.Role.CANDIDATE if is_candidate else lifecycle.Role.AGENT,
        joined_at=session.joined,
        joined_order=orders[sid, True],
        left_at=session.left if left_order else None,
        left_order=left_order,
        leave_reason=session.reason if left_order else None,
        outcome=lifecycle.Outcome(session.announced) if session.announced and left_order else None,
    )


def room_at(truth: reference_model.Truth, instant: datetime) -> str:
    return f"room-{sum(deleted <= instant for deleted in truth.deletions)}"


def rooms_of(truth: reference_model.Truth, now: datetime) -> tuple[lifecycle.Room, ...]:
    joins = [session.joined for session in truth.candidate + truth.agents if session.joined <= now]
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
        *(report.reported_at for report in truth.reports),
    ]
    known += [instant for session in participant_sessions for instant in (session.joined, session.left)]
    return sorted({instant for instant in known if instant})


def replayed(truth: reference_model.Truth, until: datetime) -> Iterator[tuple[datetime, lifecycle.Derived]]:
    """Settle at everything that happens and at every deadline, each in time, keeping the decision."""
    decision = None
    now = START
    ahead = [*instants_of(truth), until]
    while ahead:
        derived = lifecycle.derive(replace(facts_of(truth, now), decision=decision), now, SAME_TIMEOUTS)
        decision = derived.decision
        yield now, derived
        deadline = derived.next_deadline_at
        now = deadline if deadline and now < deadline < ahead[0] else ahead.pop(0)


def end_of(derived: lifecycle.Derived) -> reference_model.ExpectedEnd:
    return reference_model.ExpectedEnd(derived.status, derived.end_reason, derived.started_at, derived.ended_at)


@settings(max_examples=500, deadline=None)
@given(truths())
def test_both_read_the_table_alike_when_all_is_known_in_time(truth: reference_model.Truth) -> None:
    for now, derived in replayed(truth, at(400)):
        if any(deleted <= now < deleted + FINISHED for deleted in truth.deletions):
            continue
        assert end_of(derived) == reference_model.expected_end(truth, now, TIMEOUTS), now
        talking = now - derived.talking_since if derived.talking_since else timedelta()
        assert derived.talk_time + talking == reference_model.talk_time(truth, now, TIMEOUTS), now


@settings(max_examples=500, deadline=None)
@given(truths(), st.lists(st.integers(0, 150), max_size=4))
def test_both_read_the_table_alike_when_all_is_known_at_once(
    truth: reference_model.Truth, presence_changes: list[int]
) -> None:
    for second in [*presence_changes, 400]:
        now = at(second, 999)
        derived = lifecycle.derive(facts_of(truth, now), now, SAME_TIMEOUTS)
        assert end_of(derived) == reference_model.expected_end(truth, now, TIMEOUTS), second


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

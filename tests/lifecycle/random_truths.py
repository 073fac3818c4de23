"""Random attempts as they truly were, for derive() and for the reference model: what both make of them must be equal.

The same seed gives the same attempt.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random

from app import lifecycle
from tests import reference_model
from tests.reference_model import ExpectedEnd, Session, Truth

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
TIMEOUTS = reference_model.Timeouts(
    candidate_grace=timedelta(seconds=12),
    agent_wait=timedelta(seconds=13),
    token_wait=timedelta(seconds=10),
    idle_timeout=timedelta(seconds=200),
    candidate_waited=timedelta(seconds=4),
    last_start=timedelta(seconds=20),
    last_start_without_closing=timedelta(seconds=70),
    loss_window=timedelta(seconds=25),
    amend_window=timedelta(seconds=20),
)
SAME_TIMEOUTS = lifecycle.Timeouts(
    candidate_grace=TIMEOUTS.candidate_grace,
    agent_wait=TIMEOUTS.agent_wait,
    token_wait=TIMEOUTS.token_wait,
    idle_timeout=TIMEOUTS.idle_timeout,
    candidate_waited=TIMEOUTS.candidate_waited,
    last_start=TIMEOUTS.last_start,
    last_start_without_closing=TIMEOUTS.last_start_without_closing,
    loss_window=TIMEOUTS.loss_window,
    amend_window=TIMEOUTS.amend_window,
)
JUST_AFTER = timedelta(microseconds=1)  # LiveKit is asked, also once more about what a snapshot showed
FINISHED = timedelta(milliseconds=10)  # from a room's deletion to its room_finished, after which its rule applies
LONGEST = 60  # seconds of an attempt's maxDuration
SEEDS = range(600)  # of the attempts that the quick tests go through
ALL_OVER = 400  # seconds after which nothing happens any more
CANDIDATE_REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY", "UNKNOWN")
# Not ROOM_CLOSED: LiveKit gives it only once the candidate is gone, and derive() leans on that.
AGENT_REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "CONNECTION_TIMEOUT", "SERVER_SHUTDOWN", "UNKNOWN")
ANNOUNCED = (None, None, "pending", "pending", "completed", "failed")

# Every kind of instant has a fraction of a second of its own, so that nothing is a matter of who is asked first. A
# leave that only a snapshot shows counts after all else of its second. In half of the truths all instants are whole
# seconds, so that everything coincides, and nothing is left to snapshots.
JOIN, CLOSE, TOKEN, LEAVE, REPORT, CANCEL, DELETE, INFERRED = 0, 50, 100, 250, 600, 900, 950, 999


def at(seconds: int, millis: int = 0) -> datetime:
    return START + timedelta(seconds=seconds, milliseconds=millis)


def random_truth(seed: int) -> Truth:
    rng = Random(seed)  # noqa: S311 - to be repeatable, not to be secret
    truth = Truth(
        max_duration=timedelta(seconds=LONGEST),
        closes_at=_maybe(rng, CLOSE),
        tokens=tuple(_second(rng, TOKEN) for _ in range(rng.randint(0, 2))),
        candidate=_candidate_sessions(rng),
        agents=_agents_in_turn(rng) if rng.random() < 0.5 else _agents_at_once(rng),
        reports=tuple(_report(rng) for _ in range(max(0, rng.randint(-2, 2)))),
        cancelled=_maybe(rng, CANCEL),
    )
    deleted = _maybe(rng, DELETE)
    if rng.random() < 0.5:
        truth, deleted = _on_the_second(truth), deleted and deleted.replace(microsecond=0)
    return _without_tokens_after_the_end(_with_room_deleted(truth, deleted) if deleted else truth)


def _second(rng: Random, kind: int) -> datetime:
    return at(rng.randint(0, 110), kind)


def _maybe(rng: Random, kind: int) -> datetime | None:
    return _second(rng, kind) if rng.random() < 0.25 else None


def _report(rng: Random) -> reference_model.Report:
    return reference_model.Report(_second(rng, REPORT), rng.choice(("completed", "failed")))


def _candidate_sessions(rng: Random) -> tuple[Session, ...]:
    """One after the other, the last one perhaps for ever. Some reconnect quickly, again and again."""
    found: list[Session] = []
    now, longest = rng.randint(0, 25), rng.choice((25, 25, 9))
    for _ in range(rng.randint(0, 4 if longest == 25 else 14)):
        left = now + rng.randint(0, longest)
        found.append(Session(at(now, JOIN), at(left, LEAVE), rng.choice(CANDIDATE_REASONS)))
        now = left + 1 + rng.randint(0, longest if longest == 25 else 2)
    if found and rng.random() < 0.5:
        found[-1] = replace(found[-1], left=None)
    return tuple(found)


def _agents_in_turn(rng: Random) -> tuple[Session, ...]:
    """One after the other, each for a short time."""
    found, now = [], rng.randint(0, 10)
    for number in range(rng.randint(0, 5)):
        found.append(_agent(rng, number, joined=now, longest=9))
        now += rng.randint(1, 16)
    return tuple(found)


def _agents_at_once(rng: Random) -> tuple[Session, ...]:
    return tuple(_agent(rng, number, joined=rng.randint(0, 60), longest=25) for number in range(rng.randint(0, 3)))


def _agent(rng: Random, number: int, *, joined: int, longest: int) -> Session:
    """Each agent has a millisecond of its own."""
    joined_at, left = at(joined, JOIN + 500 + number), joined + rng.randint(0, longest)
    if rng.random() < 0.2:
        return Session(joined_at)
    reason = rng.choice(AGENT_REASONS)
    if reason == "UNKNOWN":
        return Session(joined_at, at(left, INFERRED), reason)
    return Session(joined_at, at(left, LEAVE + 500 + number), reason, rng.choice(ANNOUNCED))


def _on_the_second(truth: Truth) -> Truth:
    return replace(
        truth,
        closes_at=truth.closes_at and truth.closes_at.replace(microsecond=0),
        tokens=tuple(token.replace(microsecond=0) for token in truth.tokens),
        candidate=tuple(map(_session_on_the_second, truth.candidate)),
        agents=tuple(map(_session_on_the_second, truth.agents)),
        reports=tuple(replace(each, reported_at=each.reported_at.replace(microsecond=0)) for each in truth.reports),
        cancelled=truth.cancelled and truth.cancelled.replace(microsecond=0),
    )


def _session_on_the_second(session: Session) -> Session:
    """Joined and left at whole seconds, and never at once."""
    joined = session.joined.replace(microsecond=0)
    left = session.left and max(session.left.replace(microsecond=0), joined + timedelta(seconds=1))
    reason = "CONNECTION_TIMEOUT" if is_inferred(session) else session.reason
    return replace(session, joined=joined, left=left, reason=reason)


def _without_tokens_after_the_end(truth: Truth) -> Truth:
    """Nobody is let in any more; a token issued while a due deadline is undecided puts the window's end off."""
    kept: tuple[datetime, ...] = ()
    for token in sorted(truth.tokens):
        if reference_model.expected_end(replace(truth, tokens=kept), token, TIMEOUTS).ended_at is None:
            kept += (token,)
    return replace(truth, tokens=kept)


def _with_room_deleted(truth: Truth, deleted: datetime) -> Truth:
    """All present are removed, the candidate first, then one agent after the other; a later join creates a new room."""

    def removed(session: Session, later: int = 0) -> Session:
        there = reference_model.stays(session, deleted)
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
class _Step:
    """A coming or going as LiveKit's queue has it; of leaves at one instant the candidate's comes first."""

    at: datetime
    rank: int
    sid: str


def facts_of(truth: Truth, now: datetime) -> lifecycle.Facts:
    """All that is known of the truth at `now`, when LiveKit was asked and nothing had been lost or was late."""
    participant_sessions = [(f"candidate-{n}", session) for n, session in enumerate(truth.candidate)]
    participant_sessions += [(f"agent-{n}", session) for n, session in enumerate(truth.agents)]
    known = [(sid, session) for sid, session in participant_sessions if session.joined <= now]
    joined = [_Step(session.joined, 2, sid) for sid, session in known]
    left = [
        _Step(session.left, sid.startswith("agent"), sid)
        for sid, session in known
        if session.left and session.left <= now and not is_inferred(session)
    ]
    order = {
        step: number for number, step in enumerate(sorted([*joined, *left], key=lambda s: (s.at, s.rank)), start=1)
    }
    orders = {(step.sid, step.rank == 2): number for step, number in order.items()}
    tokens = [token for token in truth.tokens if token <= now]
    return lifecycle.Facts(
        max_duration=truth.max_duration,
        closes_at=truth.closes_at,
        connections=tuple(_connection(truth, sid, session, orders, now) for sid, session in known),
        rooms=_rooms_of(truth, now),
        first_token_at=min(tokens, default=None),
        last_token_at=max(tokens, default=None),
        cancelled_at=truth.cancelled if truth.cancelled and truth.cancelled <= now else None,
        reports=tuple(
            lifecycle.Report(report.reported_at, lifecycle.Outcome(report.outcome))
            for report in truth.reports
            if truth.started
            and truth.started <= report.reported_at <= now  # before the start it is refused, and no fact
        ),
        checked_at=now + JUST_AFTER,
    )


def is_inferred(session: Session) -> bool:
    """Of a candidate's leave for unknown reasons LiveKit tells, of an agent's only a snapshot."""
    return session.left is not None and session.left.microsecond == INFERRED * 1000


def _connection(
    truth: Truth,
    sid: str,
    session: Session,
    orders: dict[tuple[str, bool], int],
    now: datetime,
) -> lifecycle.Connection:
    left_order = orders.get((sid, False))
    is_candidate = sid.startswith("candidate")
    return lifecycle.Connection(
        sid=sid,
        room_sid=_room_at(truth, session.joined),
        identity="candidate" if is_candidate else sid,
        role=lifecycle.Role.CANDIDATE if is_candidate else lifecycle.Role.AGENT,
        joined_at=session.joined,
        joined_order=orders[sid, True],
        left_at=session.left if left_order else None,
        left_order=left_order,
        leave_reason=session.reason if left_order else None,
        outcome=lifecycle.Outcome(session.announced) if session.announced and left_order else None,
        missing_at=session.left if is_inferred(session) and session.left and session.left <= now else None,
    )


def _room_at(truth: Truth, instant: datetime) -> str:
    return f"room-{sum(deleted <= instant for deleted in truth.deletions)}"


def _rooms_of(truth: Truth, now: datetime) -> tuple[lifecycle.Room, ...]:
    joins = [session.joined for session in truth.candidate + truth.agents if session.joined <= now]
    found = []
    for sid in sorted({_room_at(truth, joined) for joined in joins}):
        created = min(joined for joined in joins if _room_at(truth, joined) == sid)
        finished = [deleted + FINISHED for deleted in truth.deletions if sid == "room-0" and created < deleted]
        found.append(lifecycle.Room(sid, created, next((instant for instant in finished if instant <= now), None)))
    return tuple(found)


def _instants_of(truth: Truth) -> list[datetime]:
    participant_sessions = truth.candidate + truth.agents
    known = [
        truth.cancelled,
        *(instant + FINISHED for instant in truth.deletions),
        *truth.tokens,
        *(report.reported_at for report in truth.reports),
    ]
    known += [instant for session in participant_sessions for instant in (session.joined, session.left)]
    return sorted({instant for instant in known if instant})


def replayed(truth: Truth, until: datetime) -> Iterator[tuple[datetime, lifecycle.Facts, lifecycle.Derived]]:
    """Settle at everything that happens and at every deadline, each in time, keeping the decision."""
    decision = None
    now = START
    ahead = [*_instants_of(truth), until]
    while ahead:
        known = facts_of(truth, now)
        derived = lifecycle.derive(replace(known, decision=decision), now, SAME_TIMEOUTS)
        decision = derived.decision
        yield now, known, derived
        deadline = derived.next_deadline_at
        now = deadline if deadline and now < deadline < ahead[0] else ahead.pop(0)


def is_judged(truth: Truth, now: datetime) -> bool:
    """Return whether no room has been deleted whose room_finished is still on its way."""
    return not any(deleted <= now < deleted + FINISHED for deleted in truth.deletions)


def end_of(derived: lifecycle.Derived) -> ExpectedEnd:
    return ExpectedEnd(derived.status, derived.end_reason, derived.started_at, derived.ended_at)

"""derive(facts, now): the status of an attempt. Pure: the same facts and instant give the same result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.lifecycle.end_rules import Attempt, EndCandidate, ends_at, first_end, last_agent_left, waiting_since
from app.lifecycle.facts import Decision, Facts, Outcome, Role, Timeouts
from app.lifecycle.presence import ParticipantSession, measure_talk_time, participant_sessions
from app.lifecycle.status import EndReason, Status


@dataclass(frozen=True, slots=True)
class DeleteRoom:
    """From due_at on, LiveKit should have no room of this attempt."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class DispatchAgent:
    """From due_at on, an agent should be in the room."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class AnnounceTimeLeft:
    """From due_at on, the people in the room should know that `time_left` or less remains."""

    due_at: datetime
    time_left: timedelta


Effect = DeleteRoom | DispatchAgent | AnnounceTimeLeft
ANNOUNCED_TIMES = (timedelta(minutes=5), timedelta(minutes=1))
DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from the facts as of an instant."""

    status: Status
    rule: str  # that gave the status: an end rule, "amended", or the state of a live attempt
    end_reason: EndReason | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    talk_time: timedelta = timedelta()  # that candidate and agent were both connected, up to talking_since
    talking_since: datetime | None = None  # both are connected since then
    next_deadline_at: datetime | None = None  # when the next effect or end by deadline is due, or was
    undecided: EndCandidate | None = None  # an end by deadline that is due, for which LiveKit was not asked yet
    decision: Decision | None = None  # the end of the attempt: the stored one, perhaps amended, or the one to store now
    effects: tuple[Effect, ...] = ()


def derive(facts: Facts, now: datetime, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> Derived:
    """Return status, instants, deadlines and effects that follow from the facts of one attempt as of `now`.

    Evidence and statements count as soon as they are known; a deadline counts once it is due and LiveKit was asked.
    """
    sessions = participant_sessions(facts)
    if facts.decision:
        return _ended(facts, facts.decision, sessions, now, timeouts)
    attempt = Attempt.of(facts, timeouts, sessions)
    end = first_end(attempt)
    if end and (not end.is_deadline or _is_decidable(end, facts, now, timeouts)):
        return _ended(facts, _decision(attempt, end), sessions, now, timeouts)
    return _live(attempt, end, now)


def _is_decidable(end: EndCandidate, facts: Facts, now: datetime, timeouts: Timeouts) -> bool:
    """Return whether the deadline is due, and LiveKit has answered since or has been away for too long."""
    return end.at <= now and (_is_checked(end, facts.checked_at) or now >= end.at + timeouts.max_livekit_outage)


def _is_checked(end: EndCandidate, checked_at: datetime | None) -> bool:
    """Return whether LiveKit was asked at the end's instant or later.

    For an inferred end only later counts: the snapshot that it was inferred from does not confirm it.
    """
    if checked_at is None:
        return False
    return checked_at > end.at if end.is_inferred else checked_at >= end.at


def _decision(attempt: Attempt, end: EndCandidate) -> Decision:
    started_at = attempt.started_at
    if started_at and started_at > end.at:  # they met after the end, though before it was decided
        started_at = None
    talk_time, _ = measure_talk_time(attempt.history, until=end.at)
    return Decision(end.rule, end.at, end.status, end.reason, started_at, talk_time)


def _ended(
    facts: Facts, decision: Decision, sessions: Sequence[ParticipantSession], now: datetime, timeouts: Timeouts
) -> Derived:
    rule = decision.rule
    if _is_amended(facts, decision, sessions, timeouts):
        # Kept with the decision, so that a process of an older version does not take it back.
        rule, decision = "amended", replace(decision, status=Status.COMPLETED, end_reason=EndReason.AGENT_REPORTED)
    effects = _effects_after_end(facts, decision, sessions, now, timeouts)
    return Derived(
        status=decision.status,
        rule=rule,
        end_reason=decision.end_reason,
        started_at=decision.started_at,
        ended_at=decision.ended_at,
        talk_time=decision.talk_time,
        next_deadline_at=min((effect.due_at for effect in effects), default=None),
        decision=decision,
        effects=effects,
    )


def _is_amended(facts: Facts, decision: Decision, sessions: Sequence[ParticipantSession], timeouts: Timeouts) -> bool:
    """For a while a completion replaces FAILED and ABANDONED: the agent knows better than the network.

    A leave counts by its instant, however late its webhook comes.
    """
    if decision.started_at is None or decision.status not in (Status.FAILED, Status.ABANDONED):
        return False
    until = decision.ended_at + timeouts.amend_window
    return any(decision.started_at <= at <= until for at in _completions(facts, sessions))


def _completions(facts: Facts, sessions: Sequence[ParticipantSession]) -> Iterator[datetime]:
    """Yield the instants at which an agent reported completion, or left having announced it."""
    yield from (report.reported_at for report in facts.reports if report.outcome is Outcome.COMPLETED)
    for session in sessions:
        left = session.connection
        if session.departure and left.role is Role.AGENT and left.outcome is Outcome.COMPLETED and left.can_amend:
            yield session.departure.at


def _effects_after_end(
    facts: Facts, decision: Decision, sessions: Sequence[ParticipantSession], now: datetime, timeouts: Timeouts
) -> tuple[Effect, ...]:
    """Delete the room of an ended attempt, also one that somebody creates again by joining with an old token.

    It stops a day after the end, or after LiveKit last answered: no token lives that long.
    """
    if now >= max(decision.ended_at, facts.checked_at or decision.ended_at) + timeouts.max_livekit_outage:
        return ()
    signs = [room.created_at for room in facts.rooms if room.gone_at is None]
    present = [each for each in sessions if each.departure is None and each.connection.role is not Role.OTHER]
    signs += [max(session.joined_at, session.connection.seen_at or session.joined_at) for session in present]
    may_exist = bool(facts.rooms or facts.connections or facts.last_token_at)
    if not may_exist or (facts.room_gone_at and facts.room_gone_at >= max([decision.ended_at, *signs])):
        return ()
    is_immediate = decision.rule in ("cancelled", "max_duration")
    return (DeleteRoom(decision.ended_at + (timedelta() if is_immediate else timeouts.delete_room_after)),)


def _live(attempt: Attempt, end: EndCandidate | None, now: datetime) -> Derived:
    status, rule = _live_status(attempt)
    talk_time, talking_since = measure_talk_time(attempt.history, until=None)
    effects = (*_dispatch(attempt), *_announcement(attempt))
    deadlines = [effect.due_at for effect in effects] + ([end.at] if end else [])
    return Derived(
        status=status,
        rule=rule,
        started_at=attempt.started_at,
        talk_time=talk_time,
        talking_since=talking_since,
        next_deadline_at=min(deadlines, default=None),
        undecided=end if end and end.at <= now else None,
        effects=effects,
    )


def _live_status(attempt: Attempt) -> tuple[Status, str]:
    current = attempt.current
    if current and current.both_connected:
        return Status.IN_PROGRESS, "both_connected"
    if current and current.candidates:
        return Status.WAITING_FOR_AGENT, "candidate_alone"
    if attempt.started_at is not None:
        return Status.RECONNECTING, "candidate_away"
    return Status.READY_TO_JOIN, "nobody_connected"


def _dispatch(attempt: Attempt) -> tuple[Effect, ...]:
    """Dispatch once for each time that the candidate is without an agent, the wait for the first one included."""
    since = waiting_since(attempt.current)
    if since is None or attempt.timeouts.dispatch_after is None:
        return ()
    left_alone_at = [change.at for change in attempt.history if last_agent_left(change)]
    dispatched_at = attempt.facts.dispatched_at
    if dispatched_at and dispatched_at >= max(left_alone_at, default=dispatched_at):
        return ()
    return (DispatchAgent(since + attempt.timeouts.dispatch_after),)


def _announcement(attempt: Attempt) -> tuple[Effect, ...]:
    """Return the next announcement. A time as long as the whole conversation is not announced."""
    if attempt.started_at is None:
        return ()
    max_duration, announced = attempt.facts.max_duration, attempt.facts.announced
    limit = max_duration if announced is None else min(max_duration, announced)
    time_left = max((each for each in ANNOUNCED_TIMES if each < limit), default=None)
    if time_left is None:
        return ()
    return (AnnounceTimeLeft(ends_at(attempt.started_at, max_duration) - time_left, time_left),)

"""derive(facts, now): what is true of an attempt. Pure: the same facts and instant give the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.lifecycle.end_rules import Attempt, EndCandidate, attempt_of, first_end, last_agent_gone, waiting_since
from app.lifecycle.facts import Decision, Facts, Outcome, Timeouts
from app.lifecycle.presence import PresenceChange, presence_changes, together
from app.lifecycle.status import EndReason, Status


@dataclass(frozen=True, slots=True)
class DeleteRoom:
    """A wish towards LiveKit: from due_at on, the attempt's room is not there."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class DispatchAgent:
    """A wish towards LiveKit: from due_at on, an agent is there."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class AnnounceTimeLeft:
    """A wish towards LiveKit: from due_at on, the people in the room know that so much time is left, or less."""

    due_at: datetime
    left: timedelta


Effect = DeleteRoom | DispatchAgent | AnnounceTimeLeft
ANNOUNCED = (timedelta(minutes=5), timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Derived:
    """What the facts say as of an instant."""

    status: Status
    rule: str
    """Names the line of the design that gave the status: a cause, or a state of a living attempt."""
    end_reason: EndReason | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    talk_time: timedelta = timedelta()
    """How long candidate and agent were both connected, up to talking_since."""
    talking_since: datetime | None = None
    """Since when both are connected, if they are."""
    next_deadline_at: datetime | None = None
    """When something is due next: an end by deadline (also one that is overdue), or a wish."""
    undecided: EndCandidate | None = None
    """An end by deadline that is due, but about which LiveKit was not asked yet."""
    decision: Decision | None = None
    """The end of the attempt: the stored one, or the one to store now."""
    effects: tuple[Effect, ...] = ()


WAITS = Timeouts()


def derive(facts: Facts, now: datetime, timeouts: Timeouts = WAITS) -> Derived:
    """Return status, instants, deadlines and wishes that follow from the facts of one attempt as of `now`.

    Evidence and statements count from when they are known; a deadline counts once it is due and LiveKit was asked.
    """
    history = presence_changes(facts)
    if facts.decision:
        return _ended(facts, facts.decision, history, now, timeouts)
    attempt = attempt_of(facts, timeouts, history)
    end = first_end(attempt)
    if end and (not end.is_deadline or _decidable(end, facts, now, timeouts)):
        return _ended(facts, _decision(attempt, end), history, now, timeouts)
    return _living(attempt, end, now)


def _decidable(end: EndCandidate, facts: Facts, now: datetime, timeouts: Timeouts) -> bool:
    """Tell whether an end by deadline is due, and LiveKit was asked since, or kept silent for too long."""
    asked = facts.asked_at is not None and facts.asked_at >= end.at
    return end.at <= now and (asked or now >= end.at + timeouts.silence)


def _decision(attempt: Attempt, end: EndCandidate) -> Decision:
    started_at = attempt.started_at
    if started_at and started_at > end.at:  # they met when it was over already, though nobody had decided it
        started_at = None
    talk_time, _ = together(attempt.history, until=end.at)
    return Decision(end.cause, end.at, end.status, end.reason, started_at, talk_time)


def _ended(
    facts: Facts, decision: Decision, history: Sequence[PresenceChange], now: datetime, timeouts: Timeouts
) -> Derived:
    amended = _amended(facts, decision, timeouts)
    since = max(decision.ended_at, facts.asked_at or decision.ended_at)
    effects = () if now >= since + timeouts.silence else _effects_after(facts, decision, history, timeouts)
    return Derived(
        status=Status.COMPLETED if amended else decision.status,
        rule="amended" if amended else decision.cause,
        end_reason=EndReason.AGENT_REPORTED if amended else decision.end_reason,
        started_at=decision.started_at,
        ended_at=decision.ended_at,
        talk_time=decision.talk_time,
        next_deadline_at=min((wish.due_at for wish in effects), default=None),
        decision=decision,
        effects=effects,
    )


def _amended(facts: Facts, decision: Decision, timeouts: Timeouts) -> bool:
    """A completion report beats FAILED and ABANDONED for a while: the agent knows better than the network."""
    if decision.started_at is None or decision.status not in (Status.FAILED, Status.ABANDONED):
        return False
    return any(
        report.outcome is Outcome.COMPLETED
        and decision.started_at <= report.said_at <= decision.ended_at + timeouts.amend
        for report in facts.reports
    )


def _effects_after(
    facts: Facts, decision: Decision, history: Sequence[PresenceChange], timeouts: Timeouts
) -> tuple[Effect, ...]:
    """An ended attempt's room is to be gone, also when somebody brings it back to life with an old token.

    A day after the end, or after LiveKit last answered, it is given up: no token lives so long.
    """
    lives = [room.created_at for room in facts.rooms if room.gone_at is None]
    there = history[-1].candidates + history[-1].agents if history else ()
    lives += [max(session.joined_at, session.connection.seen_at or session.joined_at) for session in there]
    ever = bool(facts.rooms or facts.connections or facts.last_token_at)
    if not ever or (facts.room_gone_at and facts.room_gone_at >= max([decision.ended_at, *lives])):
        return ()
    at_once = decision.cause in ("cancelled", "max_duration")
    return (DeleteRoom(decision.ended_at if at_once else decision.ended_at + timeouts.goodbye),)


def _living(attempt: Attempt, end: EndCandidate | None, now: datetime) -> Derived:
    there = attempt.history[-1] if attempt.history else None
    status, rule = _state(there, started=attempt.started_at is not None)
    talk_time, talking_since = together(attempt.history, until=None)
    effects = _effects_while_live(attempt)
    deadlines = [wish.due_at for wish in effects] + ([end.at] if end else [])
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


def _state(there: PresenceChange | None, *, started: bool) -> tuple[Status, str]:
    if there and there.both:
        return Status.IN_PROGRESS, "both_connected"
    if there and there.candidates:
        return Status.WAITING_FOR_AGENT, "candidate_alone"
    if started:
        return Status.RECONNECTING, "candidate_away"
    return Status.READY_TO_JOIN, "nobody_connected"


def _effects_while_live(attempt: Attempt) -> tuple[Effect, ...]:
    return (*_dispatch_effect(attempt), *_announcement(attempt))


def _dispatch_effect(attempt: Attempt) -> tuple[Effect, ...]:
    """One dispatch answers one loss, the first absence being one; a loss that was taken back needs none."""
    since = waiting_since(attempt.history)
    if since is None or attempt.timeouts.dispatch is None:
        return ()
    losses = [moment.at for moment in attempt.history if last_agent_gone(moment)]
    dispatched_at = attempt.facts.dispatched_at
    if dispatched_at and dispatched_at >= max(losses, default=dispatched_at):
        return ()
    return (DispatchAgent(since + attempt.timeouts.dispatch),)


def _announcement(attempt: Attempt) -> tuple[Effect, ...]:
    """Return the next time that is to be told. What is as long as the whole conversation needs no telling."""
    if attempt.started_at is None:
        return ()
    end = attempt.started_at + attempt.facts.max_duration
    untold = [
        left
        for left in ANNOUNCED
        if left < attempt.facts.max_duration and (attempt.facts.told is None or left < attempt.facts.told)
    ]
    return (AnnounceTimeLeft(end - max(untold), max(untold)),) if untold else ()

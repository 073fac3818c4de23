"""How an attempt ends: one function for each row of the table in docs/status.md, in the table's order.

Each yields every end that it finds; `derive` decides which one counts. The functions' names are stored as rules.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from app.lifecycle.facts import (
    CLIENT_INITIATED,
    CONNECTION_TIMEOUT,
    ROOM_DELETED,
    UNKNOWN,
    Facts,
    Outcome,
    Room,
    Timeouts,
)
from app.lifecycle.presence import ParticipantSession, PresenceChange, first_both_at, presence_changes
from app.lifecycle.status import EndReason, Status

LOSSES = 3  # of an agent within Timeouts.loss_window: another one would fare no better


@dataclass(frozen=True, slots=True)
class EndCandidate:
    """One way in which the attempt ends, at its instant."""

    at: datetime
    rule: str
    status: Status
    reason: EndReason | None = None
    is_deadline: bool = False  # time ran out: decided only after LiveKit was asked
    is_inferred: bool = False  # a snapshot showed it: decided only after a later one confirmed it


@dataclass(frozen=True, slots=True)
class Attempt:
    """What every rule reads. The rules take time in proportion to the history."""

    facts: Facts
    timeouts: Timeouts
    history: Sequence[PresenceChange]
    started_at: datetime | None
    start_index: int  # of the change after which candidate and agent were first both connected
    lost_together: frozenset[datetime]  # when a candidate's leave was inferred

    @classmethod
    def of(cls, facts: Facts, timeouts: Timeouts, sessions: Sequence[ParticipantSession]) -> "Attempt":
        history = presence_changes(sessions)
        start_index = next((index for index, change in enumerate(history) if change.both_connected), len(history))
        started_at = first_both_at(history[start_index]) if start_index < len(history) else None
        inferred = (each.departure for each in sessions if each.is_candidate)
        lost_together = frozenset(departure.at for departure in inferred if departure and departure.is_inferred)
        return cls(facts, timeouts, history, started_at, start_index, lost_together)

    @property
    def current(self) -> PresenceChange | None:
        return self.history[-1] if self.history else None

    @property
    def since_start(self) -> Sequence[PresenceChange]:
        return self.history[self.start_index :]


@dataclass(frozen=True, slots=True)
class Absence:
    """No candidate connected: from the last leave (None: nobody has joined yet) to the next join (None: not yet)."""

    left: PresenceChange | None
    back_at: datetime | None

    def outlasts(self, deadline: datetime) -> bool:
        """A return at the very instant of the deadline is in time."""
        return self.back_at is None or self.back_at > deadline


def ends_at(started_at: datetime, max_duration: timedelta) -> datetime:
    """Return when a conversation reaches its maximum duration."""
    return started_at + max_duration


def cancelled(attempt: Attempt) -> Iterator[EndCandidate]:
    if attempt.facts.cancelled_at:
        yield EndCandidate(attempt.facts.cancelled_at, "cancelled", Status.CANCELLED)


def agent_reported_completed(attempt: Attempt) -> Iterator[EndCandidate]:
    left = (change.at for change in attempt.since_start if _agent_left_with(change, Outcome.COMPLETED))
    for at in (*_reported(attempt, Outcome.COMPLETED), *left):
        yield EndCandidate(at, "agent_reported_completed", Status.COMPLETED, EndReason.AGENT_REPORTED)


def agent_reported_failed(attempt: Attempt) -> Iterator[EndCandidate]:
    last = filter(last_agent_left, attempt.since_start)
    left = (change.at for change in last if _agent_left_with(change, Outcome.FAILED))
    for at in (*_reported(attempt, Outcome.FAILED), *left):
        yield EndCandidate(at, "agent_reported_failed", Status.FAILED, EndReason.AGENT_REPORTED)


def agent_left(attempt: Attempt) -> Iterator[EndCandidate]:
    """For an agent that announces no outcome the leave's reason decides, because nothing better is known."""
    for change in attempt.since_start:
        is_silent = last_agent_left(change) and _agent_left_with(change, None)
        if is_silent and change.session.leave_reason == CLIENT_INITIATED and change.candidates:
            yield EndCandidate(change.at, "agent_left", Status.COMPLETED, EndReason.AGENT_LEFT)


def room_deleted(attempt: Attempt) -> Iterator[EndCandidate]:
    """This service deletes only the rooms of ended attempts, so an outsider deleted this one."""
    rooms = {room.sid: room for room in attempt.facts.rooms}
    has_started = False
    for change in attempt.history:
        if change.session.connection.outcome:  # of an agent, whose join or leave this is
            return
        has_started = has_started or change.both_connected
        if has_started and _candidate_left(change) and change.session.leave_reason == ROOM_DELETED:
            room = rooms.get(change.session.connection.room_sid)
            if room and _is_known_to_be_gone(room, change.at, attempt):
                yield EndCandidate(change.at, "room_deleted", Status.COMPLETED, EndReason.ROOM_DELETED)


def _is_known_to_be_gone(room: Room, deleted_at: datetime, attempt: Attempt) -> bool:
    """Return whether everything about the deletion is known, above all the outcome that the agent's leave carries.

    room_finished comes after the agent's leave. A snapshot may overtake both, so it counts only after the grace.
    """
    checked_at = attempt.facts.checked_at
    is_late = checked_at is not None and checked_at >= deleted_at + attempt.timeouts.candidate_grace
    return room.ended_at is not None or (room.missing_at is not None and is_late)


def agent_lost(attempt: Attempt) -> Iterator[EndCandidate]:
    """An agent that is lost again and again: the interview can't be held."""
    losses = [change for change in attempt.history if _is_loss(change, attempt)]
    for first, third in zip(losses, losses[LOSSES - 1 :], strict=False):
        if third.at - first.at <= attempt.timeouts.loss_window:
            end = EndCandidate(third.at, "agent_lost", Status.FAILED, EndReason.AGENT_UNAVAILABLE)
            yield replace(end, is_deadline=True, is_inferred=True) if _is_inferred(third) else end


def _is_loss(change: PresenceChange, attempt: Attempt) -> bool:
    """Return whether the agent was lost under the connected candidate. Both were connected, so it is after the start.

    What was inferred together with a candidate's leave, a killed LiveKit for example, took both.
    """
    if not last_agent_left(change) or not change.candidates:
        return False
    reason, outcome = change.session.leave_reason, change.session.connection.outcome
    if _is_inferred(change):
        return reason == UNKNOWN and change.at not in attempt.lost_together
    return reason == CONNECTION_TIMEOUT or (reason == CLIENT_INITIATED and outcome is Outcome.PENDING)


def _is_inferred(change: PresenceChange) -> bool:
    return change.session.departure is not None and change.session.departure.is_inferred


def max_duration(attempt: Attempt) -> Iterator[EndCandidate]:
    if attempt.started_at:
        at = ends_at(attempt.started_at, attempt.facts.max_duration)
        status, reason = Status.COMPLETED, EndReason.MAX_DURATION_REACHED
        if _waited_since_last_agent(attempt, at) >= attempt.timeouts.agent_wait:
            status, reason = Status.FAILED, EndReason.AGENT_UNAVAILABLE
        yield EndCandidate(at, "max_duration", status, reason, is_deadline=True)


def _waited_since_last_agent(attempt: Attempt, at: datetime) -> timedelta:
    """Return how long the candidate has waited, in all, since the last agent left; its reconnects restart nothing."""
    change = next(change for change in reversed(attempt.history) if change.at <= at)
    if change.agents:
        return timedelta()
    return change.alone + (at - change.at if change.candidates else timedelta())


def candidate_gone(attempt: Attempt) -> Iterator[EndCandidate]:
    for absence in _absences(attempt.since_start):
        if absence.left and absence.outlasts(deadline := absence.left.at + attempt.timeouts.candidate_grace):
            status, reason = _why_candidate_gone(absence.left)
            yield EndCandidate(deadline, "candidate_gone", status, reason, is_deadline=True)


def _why_candidate_gone(left: PresenceChange) -> tuple[Status, EndReason]:
    if not left.agents or left.session.leave_reason == ROOM_DELETED:
        return Status.FAILED, EndReason.AGENT_UNAVAILABLE
    if left.session.leave_reason == CLIENT_INITIATED:
        return Status.ABANDONED, EndReason.CANDIDATE_LEFT
    return Status.FAILED, EndReason.CONNECTION_LOST


def agent_missing(attempt: Attempt) -> Iterator[EndCandidate]:
    """Every change is examined, because a newer sid of the candidate restarts the wait too."""
    for change, following in pairwise([*attempt.history, None]):
        since = waiting_since(change)
        deadline = since + attempt.timeouts.agent_wait if since else None
        # an agent that joins at the very instant of the deadline is in time
        if deadline and (following is None or following.at > deadline):
            yield EndCandidate(deadline, "agent_missing", Status.FAILED, EndReason.AGENT_UNAVAILABLE, is_deadline=True)


def waiting_since(change: PresenceChange | None) -> datetime | None:
    """Return since when the candidate waits for an agent after that change; None if it does not wait."""
    if change is None or not change.candidates or change.agents:
        return None
    newest = change.candidates.newest_joined_at
    return max(newest, change.agent_left_at or newest)


def window_over(attempt: Attempt) -> Iterator[EndCandidate]:
    for absence in _absences(attempt.history[: attempt.start_index + 1], from_the_beginning=True):
        deadline = _window_end(attempt, absence.left.at if absence.left else None)
        if deadline and absence.outlasts(deadline):
            status, reason = _why_never_started(attempt, absence)
            yield EndCandidate(deadline, "window_over", status, reason, is_deadline=True)


def _window_end(attempt: Attempt, left_at: datetime | None) -> datetime | None:
    facts, timeouts = attempt.facts, attempt.timeouts
    if facts.closes_at:
        token = [facts.last_token_at + timeouts.token_wait] if facts.last_token_at else []
        leave = [left_at + timeouts.candidate_grace] if left_at else []
        return max([facts.closes_at, *token, *leave])
    activity = [at for at in (facts.last_token_at, left_at) if at]
    return max(activity) + timeouts.idle_timeout if activity else None


def never_started(attempt: Attempt) -> Iterator[EndCandidate]:
    """The last moment to start: a candidate that reconnects again and again puts the other deadlines off for ever."""
    at = _last_start(attempt)
    if at is None or (attempt.started_at and attempt.started_at <= at):
        return
    absence = _absence_at(attempt, at)
    status, reason = _why_never_started(attempt, absence) if absence else (Status.FAILED, EndReason.AGENT_UNAVAILABLE)
    yield EndCandidate(at, "never_started", status, reason, is_deadline=True)


def _absence_at(attempt: Attempt, at: datetime) -> Absence | None:
    """Return the absence of that instant; None if the candidate is connected."""
    absences = _absences(attempt.history, from_the_beginning=True)
    return next((each for each in absences if each.outlasts(at) and (each.left is None or each.left.at <= at)), None)


def _last_start(attempt: Attempt) -> datetime | None:
    facts, timeouts = attempt.facts, attempt.timeouts
    if facts.closes_at:
        return max(facts.closes_at, facts.first_token_at or facts.closes_at) + timeouts.last_start
    return facts.first_token_at + timeouts.last_start_without_closing if facts.first_token_at else None


def _why_never_started(attempt: Attempt, absence: Absence) -> tuple[Status, EndReason | None]:
    if absence.left is None:
        if attempt.facts.last_token_at is None:
            return Status.NO_SHOW, None
        return Status.FAILED, EndReason.CANDIDATE_CONNECTION_FAILED
    if absence.left.connected >= attempt.timeouts.candidate_waited:
        return Status.FAILED, EndReason.AGENT_UNAVAILABLE
    return Status.ABANDONED, EndReason.LEFT_BEFORE_START


def _absences(history: Sequence[PresenceChange], *, from_the_beginning: bool = False) -> Iterator[Absence]:
    """Yield each period without a candidate, in order."""
    left: PresenceChange | None = None
    is_away = from_the_beginning
    for change in history:
        if change.candidates and is_away:
            yield Absence(left, change.at)
            is_away = False
        elif _candidate_left(change) and not change.candidates:
            left, is_away = change, True
    if is_away:
        yield Absence(left, None)


def _reported(attempt: Attempt, outcome: Outcome) -> list[datetime]:
    """A report is accepted only after the start, which is on LiveKit's clock: that may be ahead of ours."""
    started_at = attempt.started_at
    if started_at is None:
        return []
    return [max(report.reported_at, started_at) for report in attempt.facts.reports if report.outcome is outcome]


def _candidate_left(change: PresenceChange) -> bool:
    return not change.is_join and change.session.is_candidate


def _agent_left(change: PresenceChange) -> bool:
    return not change.is_join and not change.session.is_candidate


def _agent_left_with(change: PresenceChange, outcome: Outcome | None) -> bool:
    return _agent_left(change) and change.session.connection.outcome is outcome


def last_agent_left(change: PresenceChange) -> bool:
    return _agent_left(change) and not change.agents


# In the table's order: at the same instant the upper one wins.
END_RULES: tuple[Callable[[Attempt], Iterator[EndCandidate]], ...] = (
    cancelled,
    agent_reported_completed,
    agent_reported_failed,
    agent_left,
    room_deleted,
    agent_lost,
    max_duration,
    candidate_gone,
    agent_missing,
    window_over,
    never_started,
)


def first_end(attempt: Attempt) -> EndCandidate | None:
    """Return the earliest end; of several at one instant, the upper one of the table."""
    ends = [end for rule in END_RULES for end in rule(attempt)]
    return min(ends, key=lambda end: end.at, default=None)

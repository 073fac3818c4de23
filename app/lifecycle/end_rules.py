"""How an attempt ends: one function for each row of the table in docs/status.md, in the table's order.

Each yields every end that it finds; `derive` decides which one counts. The functions' names are stored as rules.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, takewhile

from app.lifecycle.facts import CLIENT_INITIATED, ROOM_DELETED, Facts, Outcome, Timeouts
from app.lifecycle.presence import PresenceChange, first_both_at
from app.lifecycle.status import EndReason, Status


@dataclass(frozen=True, slots=True)
class EndCandidate:
    """One way in which the attempt ends, at its instant."""

    at: datetime
    rule: str
    status: Status
    reason: EndReason | None = None
    is_deadline: bool = False  # time ran out: decided only after LiveKit was asked


@dataclass(frozen=True, slots=True)
class Attempt:
    """What every rule reads."""

    facts: Facts
    timeouts: Timeouts
    history: Sequence[PresenceChange]
    started_at: datetime | None
    start_index: int  # of the change after which candidate and agent were first both connected

    @classmethod
    def of(cls, facts: Facts, timeouts: Timeouts, history: Sequence[PresenceChange]) -> "Attempt":
        start_index = next((index for index, change in enumerate(history) if change.both_connected), len(history))
        started_at = first_both_at(history[start_index]) if start_index < len(history) else None
        return cls(facts, timeouts, history, started_at, start_index)

    @property
    def since_start(self) -> Sequence[PresenceChange]:
        return self.history[self.start_index :]


@dataclass(frozen=True, slots=True)
class Absence:
    """No candidate connected: from the last leave (None: nobody has joined yet) to the next join (None: not yet)."""

    left: PresenceChange | None
    back_at: datetime | None

    def outlasts(self, deadline: datetime) -> bool:
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
    for index, change in enumerate(attempt.since_start, start=attempt.start_index + 1):
        has_outcome = any(agent.connection.outcome for each in attempt.history[:index] for agent in each.agents)
        is_deleted = _candidate_left(change) and change.session.leave_reason == ROOM_DELETED
        if is_deleted and not has_outcome and _room_is_gone(attempt, change):
            yield EndCandidate(change.at, "room_deleted", Status.COMPLETED, EndReason.ROOM_DELETED)


def _room_is_gone(attempt: Attempt, left: PresenceChange) -> bool:
    """Return whether everything about the deletion is known, above all the outcome that the agent's leave carries.

    room_finished comes after the agent's leave. A snapshot may overtake both, so it counts only after the grace.
    """
    checked_at = attempt.facts.checked_at
    is_late = checked_at is not None and checked_at >= left.at + attempt.timeouts.candidate_grace
    rooms = [room for room in attempt.facts.rooms if room.sid == left.session.connection.room_sid]
    return any(room.ended_at or (room.missing_at and is_late) for room in rooms)


def max_duration(attempt: Attempt) -> Iterator[EndCandidate]:
    if attempt.started_at:
        at = ends_at(attempt.started_at, attempt.facts.max_duration)
        yield EndCandidate(at, "max_duration", Status.COMPLETED, EndReason.MAX_DURATION_REACHED, is_deadline=True)


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
    for count, (_, following) in enumerate(pairwise([*attempt.history, None]), start=1):
        since = waiting_since(attempt.history[:count])
        deadline = since + attempt.timeouts.agent_wait if since else None
        if deadline and (following is None or following.at > deadline):
            yield EndCandidate(deadline, "agent_missing", Status.FAILED, EndReason.AGENT_UNAVAILABLE, is_deadline=True)


def waiting_since(history: Sequence[PresenceChange]) -> datetime | None:
    """Return since when the candidate waits for an agent at the end of that history; None if it does not wait."""
    if not history or not history[-1].candidates or history[-1].agents:
        return None
    newest = max(session.joined_at for session in history[-1].candidates)
    return max([newest, *(change.at for change in history if _agent_left(change))])


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


def _why_never_started(attempt: Attempt, absence: Absence) -> tuple[Status, EndReason | None]:
    if absence.left is None:
        if attempt.facts.last_token_at is None:
            return Status.NO_SHOW, None
        return Status.FAILED, EndReason.CANDIDATE_CONNECTION_FAILED
    if _time_connected(attempt.history, until=absence.left) >= attempt.timeouts.candidate_waited:
        return Status.FAILED, EndReason.AGENT_UNAVAILABLE
    return Status.ABANDONED, EndReason.LEFT_BEFORE_START


def _time_connected(history: Sequence[PresenceChange], *, until: PresenceChange) -> timedelta:
    """Return how long a candidate was connected, in all, up to that leave."""
    total = timedelta()
    joined_at: datetime | None = None
    for change in takewhile(lambda each: each is not until, history):
        if change.candidates and joined_at is None:
            joined_at = change.at
        elif not change.candidates and joined_at is not None:
            total += change.at - joined_at
            joined_at = None
    return total + (until.at - joined_at if joined_at else timedelta())


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
    max_duration,
    candidate_gone,
    agent_missing,
    window_over,
)


def first_end(attempt: Attempt) -> EndCandidate | None:
    """Return the earliest end; of several at one instant, the upper one of the table."""
    ends = [end for rule in END_RULES for end in rule(attempt)]
    return min(ends, key=lambda end: end.at, default=None)

"""How an attempt ends: one function a row of the design's table, in the table's order.

Each yields the ends that it finds, whenever they were; which of them counts is decided in `derive`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, takewhile

from app.lifecycle.facts import CLIENT_INITIATED, ROOM_DELETED, Facts, Outcome, Timeouts
from app.lifecycle.presence import PresenceChange, start
from app.lifecycle.status import EndReason, Status


@dataclass(frozen=True, slots=True)
class EndCandidate:
    """One way in which the attempt ends, at its instant."""

    at: datetime
    cause: str
    status: Status
    reason: EndReason | None = None
    is_deadline: bool = False
    """True if nothing happened, but time ran out: decided only after LiveKit was asked."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What every cause looks at."""

    facts: Facts
    timeouts: Timeouts
    history: Sequence[PresenceChange]
    started_at: datetime | None
    start: int
    """The place in the history of the moment at which candidate and agent were first both there."""

    @property
    def until_start(self) -> Sequence[PresenceChange]:
        return self.history[: self.start + 1]

    @property
    def since_start(self) -> Sequence[PresenceChange]:
        return self.history[self.start :]


@dataclass(frozen=True, slots=True)
class Absence:
    """No candidate connected: from the last one's leave (None: nobody has come yet) to the next join (None: still)."""

    left: PresenceChange | None
    back_at: datetime | None

    def outlasts(self, deadline: datetime) -> bool:
        return self.back_at is None or self.back_at > deadline


def cancelled(attempt: Attempt) -> Iterator[EndCandidate]:
    if attempt.facts.cancelled_at:
        yield EndCandidate(attempt.facts.cancelled_at, "cancelled", Status.CANCELLED)


def agent_reported_completed(attempt: Attempt) -> Iterator[EndCandidate]:
    said = _reported(attempt, Outcome.COMPLETED)
    left = (
        moment.at
        for moment in attempt.since_start
        if _agent_gone(moment) and moment.session.connection.outcome is Outcome.COMPLETED
    )
    for at in (*said, *left):
        yield EndCandidate(at, "agent_reported_completed", Status.COMPLETED, EndReason.AGENT_REPORTED)


def agent_reported_failed(attempt: Attempt) -> Iterator[EndCandidate]:
    said = _reported(attempt, Outcome.FAILED)
    left = (
        moment.at
        for moment in attempt.since_start
        if last_agent_gone(moment) and moment.session.connection.outcome is Outcome.FAILED
    )
    for at in (*said, *left):
        yield EndCandidate(at, "agent_reported_failed", Status.FAILED, EndReason.AGENT_REPORTED)


def agent_left(attempt: Attempt) -> Iterator[EndCandidate]:
    """An agent that announces nothing is judged by its reason, because nothing better is known."""
    for moment in attempt.since_start:
        silent = last_agent_gone(moment) and moment.session.connection.outcome is None
        if silent and moment.session.reason == CLIENT_INITIATED and moment.candidates:
            yield EndCandidate(moment.at, "agent_left", Status.COMPLETED, EndReason.AGENT_LEFT)


def room_deleted(attempt: Attempt) -> Iterator[EndCandidate]:
    """This service deletes the room of ended attempts only, so whoever deleted this one was somebody else."""
    for place, moment in enumerate(attempt.history[attempt.start :], start=attempt.start + 1):
        agents = [session for earlier in attempt.history[:place] for session in earlier.agents]
        announced = any(agent.connection.outcome for agent in agents)
        deleted = _candidate_gone(moment) and moment.session.reason == ROOM_DELETED
        if deleted and not announced and _room_is_gone(attempt, moment):
            yield EndCandidate(moment.at, "room_deleted", Status.COMPLETED, EndReason.ROOM_DELETED)


def _room_is_gone(attempt: Attempt, left: PresenceChange) -> bool:
    """Tell whether all is known that the deletion left behind, above all what the agent announced when it was put out.

    room_finished comes after the agent's leave. Asking may overtake both, so it counts only once the grace is over.
    """
    asked_at = attempt.facts.asked_at
    late = asked_at is not None and asked_at >= left.at + attempt.timeouts.grace
    rooms = [room for room in attempt.facts.rooms if room.sid == left.session.connection.room_sid]
    return any(room.ended_at or (room.missing_at and late) for room in rooms)


def max_duration(attempt: Attempt) -> Iterator[EndCandidate]:
    if attempt.started_at:
        at = attempt.started_at + attempt.facts.max_duration
        yield EndCandidate(at, "max_duration", Status.COMPLETED, EndReason.MAX_DURATION_REACHED, is_deadline=True)


def candidate_gone(attempt: Attempt) -> Iterator[EndCandidate]:
    for absence in _absences(attempt.since_start):
        deadline = absence.left.at + attempt.timeouts.grace if absence.left else None
        if absence.left and deadline and absence.outlasts(deadline):
            status, reason = _why_candidate_gone(absence.left)
            yield EndCandidate(deadline, "candidate_gone", status, reason, is_deadline=True)


def _why_candidate_gone(left: PresenceChange) -> tuple[Status, EndReason]:
    if not left.agents or left.session.reason == ROOM_DELETED:
        return Status.FAILED, EndReason.AGENT_UNAVAILABLE
    if left.session.reason == CLIENT_INITIATED:
        return Status.ABANDONED, EndReason.CANDIDATE_LEFT
    return Status.FAILED, EndReason.CONNECTION_LOST


def agent_missing(attempt: Attempt) -> Iterator[EndCandidate]:
    """Every coming and going is looked at again: a newer sid of the candidate, too, starts the wait anew."""
    for count, (_, after) in enumerate(pairwise([*attempt.history, None]), start=1):
        since = waiting_since(attempt.history[:count])
        if since is None:
            continue
        deadline = since + attempt.timeouts.agent
        if after is None or after.at > deadline:
            yield EndCandidate(deadline, "agent_missing", Status.FAILED, EndReason.AGENT_UNAVAILABLE, is_deadline=True)


def waiting_since(history: Sequence[PresenceChange]) -> datetime | None:
    """Return since when, at the end of that history, the candidate waits for an agent; None if it does not."""
    if not history or not history[-1].candidates or history[-1].agents:
        return None
    newest = max(session.joined_at for session in history[-1].candidates)
    losses = [moment.at for moment in history if _agent_gone(moment)]
    return max([newest, *losses])


def window_over(attempt: Attempt) -> Iterator[EndCandidate]:
    for absence in _absences(attempt.until_start, from_the_beginning=True):
        deadline = _window_end(attempt, absence.left.at if absence.left else None)
        if deadline and absence.outlasts(deadline):
            status, reason = _why_never_started(attempt, absence)
            yield EndCandidate(deadline, "window_over", status, reason, is_deadline=True)


def _window_end(attempt: Attempt, left_at: datetime | None) -> datetime | None:
    facts, timeouts = attempt.facts, attempt.timeouts
    if facts.closes_at:
        token = [facts.last_token_at + timeouts.token] if facts.last_token_at else []
        leave = [left_at + timeouts.grace] if left_at else []
        return max([facts.closes_at, *token, *leave])
    signs = [at for at in (facts.last_token_at, left_at) if at]
    return max(signs) + timeouts.idle if signs else None


def _why_never_started(attempt: Attempt, absence: Absence) -> tuple[Status, EndReason | None]:
    if absence.left is None:
        if attempt.facts.last_token_at is None:
            return Status.NO_SHOW, None
        return Status.FAILED, EndReason.CANDIDATE_CONNECTION_FAILED
    if _waited(attempt.history, until=absence.left) >= attempt.timeouts.waited:
        return Status.FAILED, EndReason.AGENT_UNAVAILABLE
    return Status.ABANDONED, EndReason.LEFT_BEFORE_START


def _waited(history: Sequence[PresenceChange], *, until: PresenceChange) -> timedelta:
    """Return how long a candidate was there, in all, up to that leave."""
    total = timedelta()
    came_at: datetime | None = None
    for moment in takewhile(lambda each: each is not until, history):
        if moment.candidates and came_at is None:
            came_at = moment.at
        elif not moment.candidates and came_at is not None:
            total += moment.at - came_at
            came_at = None
    return total + (until.at - came_at if came_at else timedelta())


def _absences(history: Sequence[PresenceChange], *, from_the_beginning: bool = False) -> Iterator[Absence]:
    """Yield each stretch without a candidate, in order."""
    left: PresenceChange | None = None
    away = from_the_beginning
    for moment in history:
        if moment.candidates and away:
            yield Absence(left, moment.at)
            away = False
        elif _candidate_gone(moment) and not moment.candidates:
            left, away = moment, True
    if away:
        yield Absence(left, None)


def _reported(attempt: Attempt, outcome: Outcome) -> list[datetime]:
    """A report is taken only after the start; LiveKit's clock, which says when that was, may be ahead of ours."""
    started_at = attempt.started_at
    if started_at is None:
        return []
    return [max(report.said_at, started_at) for report in attempt.facts.reports if report.outcome is outcome]


def _candidate_gone(moment: PresenceChange) -> bool:
    return not moment.came and moment.session.is_candidate


def _agent_gone(moment: PresenceChange) -> bool:
    return not moment.came and not moment.session.is_candidate


def last_agent_gone(moment: PresenceChange) -> bool:
    return _agent_gone(moment) and not moment.agents


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
    """Return the earliest end; of several at one instant, that of the table's upper row."""
    ends = [end for cause in END_RULES for end in cause(attempt)]
    return min(ends, key=lambda end: end.at, default=None)


def attempt_of(facts: Facts, timeouts: Timeouts, history: Sequence[PresenceChange]) -> Attempt:
    first_both = next((place for place, moment in enumerate(history) if moment.both), len(history))
    return Attempt(facts, timeouts, history, start(history), first_both)

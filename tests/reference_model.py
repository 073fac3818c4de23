"""A second implementation of the status rules, written only from the table in docs/status.md.

Its input is the complete true history of an attempt, with exact instants. It uses no webhooks, no database and no code
of the application, so where it and the service differ, one of them misreads the table. Each function is one row of the
table, in the table's order.

What happens at one instant happens in this order: candidates leave, agents leave one after the other, candidates join,
agents join. Only then is a deadline of that instant due.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The default timeouts; in a deployment they are settings."""

    candidate_grace: timedelta = timedelta(seconds=120)
    agent_wait: timedelta = timedelta(seconds=90)
    token_wait: timedelta = timedelta(seconds=120)
    idle_timeout: timedelta = timedelta(hours=24)  # for an interview without closesAt
    candidate_waited: timedelta = timedelta(seconds=30)  # a candidate who stayed this long has waited for the agent
    last_start: timedelta = timedelta(minutes=30)  # after closesAt or the first token
    last_start_without_closing: timedelta = timedelta(days=7)  # after the first token
    loss_window: timedelta = timedelta(minutes=10)  # for three losses
    amend_window: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Session:
    """A connection of a participant, from the moment its media was up until it was really gone.

    `reason` is LiveKit's DisconnectReason, "UNKNOWN" where LiveKit never gave one and only a snapshot showed it;
    `announced` is the agent's `interview.outcome`: None, "pending", "completed" or "failed".
    """

    joined: datetime
    left: datetime | None = None
    reason: str = "CLIENT_INITIATED"
    announced: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A POST .../complete for this attempt's room."""

    reported_at: datetime
    outcome: str


@dataclass(frozen=True, slots=True)
class Truth:
    """The true history of one attempt; of its room it has only deletions from outside this service."""

    max_duration: timedelta = timedelta(seconds=1800)
    closes_at: datetime | None = None
    tokens: tuple[datetime, ...] = ()
    candidate: tuple[Session, ...] = ()
    agents: tuple[Session, ...] = ()
    reports: tuple[Report, ...] = ()
    deletions: tuple[datetime, ...] = ()
    cancelled: datetime | None = None
    frozen: datetime | None = None  # when the next attempt opened

    @property
    def started(self) -> datetime | None:
        """The first moment at which candidate and agent were both connected."""
        return min(
            (
                max(c.joined, a.joined)
                for c in self.candidate
                for a in self.agents
                if connected(c, max(c.joined, a.joined)) and connected(a, max(c.joined, a.joined))
            ),
            default=None,
        )


@dataclass(frozen=True, slots=True)
class EndCandidate:
    at: datetime
    status: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    status: str
    end_reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


def connected(session: Session, at: datetime) -> bool:
    return session.joined <= at and (session.left is None or session.left > at)


def stays(session: Session, at: datetime) -> bool:
    """Return whether the session is there when others leave at that instant, and after they have."""
    return session.joined < at and (session.left is None or session.left > at)


def any_connected(sessions: Iterable[Session], at: datetime) -> bool:
    return any(connected(session, at) for session in sessions)


def first(ends: Iterable[EndCandidate]) -> EndCandidate | None:
    """Return the earliest; of several at one instant the first."""
    return min(ends, key=lambda candidate: candidate.at, default=None)


def left_after_start(truth: Truth, sessions: Iterable[Session]) -> list[tuple[Session, datetime]]:
    """Return the sessions that ended after the start, with that instant."""
    start = truth.started
    return [(session, session.left) for session in sessions if start and session.left and session.left > start]


def last_agents_left(truth: Truth) -> list[tuple[Session, datetime]]:
    """Return the agents that left after the start as the last one; of several at one instant the last of the tuple."""
    found = []
    for agent, left in left_after_start(truth, truth.agents):
        place = next(place for place, other in enumerate(truth.agents) if other is agent)
        later = [other for other in truth.agents[place + 1 :] if other.joined < left and other.left == left]
        if not later and not any(stays(other, left) for other in truth.agents):
            found.append((agent, left))
    return found


def reported_after_start(truth: Truth, outcome: str) -> list[datetime]:
    """Return when an outcome was posted; before the start a report is refused."""
    start = truth.started
    return [
        report.reported_at
        for report in truth.reports
        if start and report.reported_at >= start and report.outcome == outcome
    ]


# The rows of the table, from top to bottom.


def cancelled(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """The recruiter cancels."""
    return EndCandidate(truth.cancelled, "CANCELLED", None) if truth.cancelled else None


def completion_reported(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """After the start the agent reports completion: by POST, or any agent's leave carries `completed`."""
    announced = [left for agent, left in left_after_start(truth, truth.agents) if agent.announced == "completed"]
    return first(
        EndCandidate(at, "COMPLETED", "AGENT_REPORTED") for at in reported_after_start(truth, "completed") + announced
    )


def failure_reported(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """After the start the agent reports `failed` by POST, or the last agent leaves having announced it."""
    posted = reported_after_start(truth, "failed")
    announced = [left for agent, left in last_agents_left(truth) if agent.announced == "failed"]
    return first(EndCandidate(at, "FAILED", "AGENT_REPORTED") for at in posted + announced)


def agent_left(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """After the start the last agent, having announced nothing, leaves by CLIENT_INITIATED before the candidate."""
    return first(
        EndCandidate(left, "COMPLETED", "AGENT_LEFT")
        for agent, left in last_agents_left(truth)
        if agent.announced is None
        and agent.reason == "CLIENT_INITIATED"
        and any(stays(candidate, left) for candidate in truth.candidate)
    )


def room_deleted(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """After the start the room is deleted from outside under the candidate, and no agent announced anything."""
    return first(
        EndCandidate(left, "COMPLETED", "ROOM_DELETED")
        for candidate, left in left_after_start(truth, truth.candidate)
        if deleted_under(truth, candidate)
        and all(agent.announced is None for agent in truth.agents if agent.joined < left)
    )


def deleted_under(truth: Truth, candidate: Session) -> bool:
    """Return whether the room was deleted under this session from outside this service."""
    return candidate.reason == "ROOM_DELETED" and candidate.left in truth.deletions


def agent_lost(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """After the start the third loss of an agent within 10 minutes."""
    losses = sorted(left for agent, left in last_agents_left(truth) if is_loss(truth, agent, left))
    return first(
        EndCandidate(third, "FAILED", "AGENT_UNAVAILABLE")
        for one, third in zip(losses, losses[2:], strict=False)
        if third <= one + timeouts.loss_window
    )


def is_loss(truth: Truth, agent: Session, left: datetime) -> bool:
    """Return whether the agent was lost under the connected candidate, and neither with it nor on purpose."""
    taken_together = any(candidate.reason == "UNKNOWN" and candidate.left == left for candidate in truth.candidate)
    if not any(stays(candidate, left) for candidate in truth.candidate):
        return False
    match agent.reason:
        case "CONNECTION_TIMEOUT":
            return True
        case "UNKNOWN":
            return not taken_together
        case "CLIENT_INITIATED":
            return agent.announced == "pending"
    return False


def max_duration_over(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """maxDuration over: a failure if the candidate has waited AGENT_WAIT or longer since the last agent left."""
    if truth.started is None:
        return None
    over = truth.started + truth.max_duration
    left = max((agent.left for agent in truth.agents if agent.left and agent.left <= over), default=over)
    if not any_connected(truth.agents, over) and connected_time(truth.candidate, left, over) >= timeouts.agent_wait:
        return EndCandidate(over, "FAILED", "AGENT_UNAVAILABLE")
    return EndCandidate(over, "COMPLETED", "MAX_DURATION_REACHED")


def connected_time(sessions: Iterable[Session], since: datetime, until: datetime) -> timedelta:
    """Return for how long any of the sessions was connected within that time."""
    sessions = list(sessions)
    edges = {edge for session in sessions for edge in (session.joined, session.left or until) if since < edge < until}
    return sum(
        (end - begin for begin, end in pairwise(sorted({since, until, *edges})) if any_connected(sessions, begin)),
        timedelta(),
    )


def candidate_gone(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """Started, candidate gone for the grace."""
    return first(
        EndCandidate(left + timeouts.candidate_grace, *why_gone(truth, candidate, left))
        for candidate, left in left_after_start(truth, truth.candidate)
        if not any_connected(truth.candidate, left)
        and not any(left < other.joined <= left + timeouts.candidate_grace for other in truth.candidate)
    )


def why_gone(truth: Truth, candidate: Session, left: datetime) -> tuple[str, str]:
    # an agent that left at the same instant had not left before
    agent_was_there = any(agent.joined < left and (agent.left is None or agent.left >= left) for agent in truth.agents)
    if candidate.reason == "CLIENT_INITIATED" and agent_was_there:
        return "ABANDONED", "CANDIDATE_LEFT"
    if not agent_was_there or deleted_under(truth, candidate):
        return "FAILED", "AGENT_UNAVAILABLE"
    return "FAILED", "CONNECTION_LOST"


def agent_missing(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """Candidate connected, no agent for 90 s since the later of its newest sid's join and the last agent's leave."""
    moments = [session.joined for session in truth.candidate] + [agent.left for agent in truth.agents if agent.left]
    return first(
        EndCandidate(since + timeouts.agent_wait, "FAILED", "AGENT_UNAVAILABLE")
        for since in moments
        if waited_alone(truth, since, since + timeouts.agent_wait)
    )


def waited_alone(truth: Truth, since: datetime, until: datetime) -> bool:
    """Return whether one session of the candidate was the newest, without any agent, for the whole time."""
    stayed = any(
        session.joined <= since and (session.left is None or session.left > until) for session in truth.candidate
    )
    newer = any(since < session.joined <= until for session in truth.candidate)
    agent = any(agent.joined <= until and (agent.left is None or agent.left > since) for agent in truth.agents)
    return stayed and not newer and not agent


def window_over(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """The window is over, never started, no candidate connected."""
    return first(EndCandidate(at, *why_never_started(truth, timeouts, at)) for at in quiet_ends(truth, timeouts))


def quiet_ends(truth: Truth, timeouts: Timeouts) -> list[datetime]:
    """Return the instants at which the window is over, given the history up to each."""
    token, leave = (
        (timeouts.token_wait, timeouts.candidate_grace)
        if truth.closes_at
        else (timeouts.idle_timeout, timeouts.idle_timeout)
    )
    leaves = [session.left for session in truth.candidate if session.left]
    instants = [at + token for at in truth.tokens] + [at + leave for at in leaves]
    instants += [truth.closes_at] if truth.closes_at else []
    return [
        at
        for at in instants
        if not (truth.closes_at and at < truth.closes_at)
        and not (truth.started and truth.started <= at)
        and not any(at - token < token_at <= at for token_at in truth.tokens)
        and not any(at - leave < left <= at for left in leaves)
        and not any_connected(truth.candidate, at)
    ]


def why_never_started(truth: Truth, timeouts: Timeouts, at: datetime) -> tuple[str, str | None]:
    sessions = [session for session in truth.candidate if session.joined <= at]
    tokens = [token_at for token_at in truth.tokens if token_at <= at]
    if not tokens and not sessions:
        return "NO_SHOW", None
    if not sessions:
        return "FAILED", "CANDIDATE_CONNECTION_FAILED"
    waited = sum(((session.left or at) - session.joined for session in sessions), timedelta())
    if waited >= timeouts.candidate_waited:
        return "FAILED", "AGENT_UNAVAILABLE"
    return "ABANDONED", "LEFT_BEFORE_START"


def never_started(truth: Truth, timeouts: Timeouts) -> EndCandidate | None:
    """Never started, whether or not anybody is connected, long after the window or the first token."""
    token = min(truth.tokens, default=None)
    if truth.closes_at:
        at = max(truth.closes_at, token or truth.closes_at) + timeouts.last_start
    elif token:
        at = token + timeouts.last_start_without_closing
    else:
        return None
    if truth.started and truth.started <= at:
        return None
    if any_connected(truth.candidate, at):
        return EndCandidate(at, "FAILED", "AGENT_UNAVAILABLE")
    return EndCandidate(at, *why_never_started(truth, timeouts, at))


ROWS: tuple[Callable[[Truth, Timeouts], EndCandidate | None], ...] = (
    cancelled,
    completion_reported,
    failure_reported,
    agent_left,
    room_deleted,
    agent_lost,
    max_duration_over,
    candidate_gone,
    agent_missing,
    window_over,
    never_started,
)


# The expected end.


def decided(truth: Truth, now: datetime, timeouts: Timeouts) -> EndCandidate | None:
    """Return the end as first decided: the earliest cause at or before now, at one instant the upper row."""
    return first(end for row in ROWS if (end := row(truth, timeouts)) and end.at <= now)


def amended(truth: Truth, end: EndCandidate, now: datetime, timeouts: Timeouts) -> EndCandidate:
    """For 15 minutes after endedAt a completion beats FAILED and ABANDONED, unless the next attempt is open.

    It is a POST of the agent or the attribute of its leave, and counts by its instant. Only status and reason are
    replaced, not the instant of the end.
    """
    started = start_before(truth, end.at)
    if started is None or end.status not in ("FAILED", "ABANDONED"):
        return end
    until = min([now, end.at + timeouts.amend_window] + ([truth.frozen] if truth.frozen else []))
    posted = [report.reported_at for report in truth.reports if report.outcome == "completed"]
    announced = [agent.left for agent in truth.agents if agent.left and agent.announced == "completed"]
    is_completed = any(started <= at <= until for at in posted + announced)
    return EndCandidate(end.at, "COMPLETED", "AGENT_REPORTED") if is_completed else end


def live_status(truth: Truth, now: datetime) -> str:
    """Return the status of a live attempt: the first that fits."""
    candidate, agent = any_connected(truth.candidate, now), any_connected(truth.agents, now)
    if candidate and agent:
        return "IN_PROGRESS"
    if candidate:
        return "WAITING_FOR_AGENT"
    if truth.started is not None and truth.started <= now:
        return "RECONNECTING"
    return "READY_TO_JOIN"


def expected_end(truth: Truth, now: datetime, timeouts: Timeouts | None = None) -> ExpectedEnd:
    """Return the expected state of the attempt at `now`."""
    timeouts = timeouts or Timeouts()
    end = decided(truth, now, timeouts)
    if end is None:
        return ExpectedEnd(live_status(truth, now), None, start_before(truth, now))
    over = amended(truth, end, now, timeouts)
    return ExpectedEnd(over.status, over.reason, start_before(truth, end.at), over.at)


def start_before(truth: Truth, until: datetime) -> datetime | None:
    """Return the start, unless they met only after the end."""
    return truth.started if truth.started is not None and truth.started <= until else None


def public_status(status: str, now: datetime, opens_at: datetime | None) -> str:
    """Return the public status: READY_TO_JOIN before opensAt is SCHEDULED."""
    early = opens_at is not None and now < opens_at
    return "SCHEDULED" if early and status == "READY_TO_JOIN" else status


def talk_time(truth: Truth, now: datetime, timeouts: Timeouts | None = None) -> timedelta:
    """Return how long both were connected, up to the end of the attempt (unamended) or `now`."""
    end = decided(truth, now, timeouts or Timeouts())
    until = end.at if end else now
    sessions = truth.candidate + truth.agents
    edges = sorted({edge for session in sessions for edge in (session.joined, session.left or until) if edge < until})
    return sum(
        (
            finish - begin
            for begin, finish in pairwise([*edges, until])
            if any_connected(truth.candidate, begin) and any_connected(truth.agents, begin)
        ),
        timedelta(),
    )

"""The true history of one interview, as data. Instants are milliseconds from the history's own beginning."""

from dataclasses import dataclass
from enum import StrEnum

SECOND = 1000


def millis(seconds: float) -> int:
    return round(seconds * SECOND)


class Role(StrEnum):
    CANDIDATE = "candidate"
    AGENT = "agent"
    WATCHER = "watcher"  # a recruiter, hidden: counts for nothing
    AVATAR = "avatar"  # kind AGENT, but publishing on the agent's behalf: counts for nothing


@dataclass(frozen=True, slots=True)
class Connection:
    """One participant sid.

    `left` is when it was really gone, `noticed` when LiveKit knew and said so: 19 to 21 s later for a
    CONNECTION_TIMEOUT, never (None) if LiveKit's server was killed under it. `identity` is empty for the candidate:
    the deployment under test chooses it, and puts it into the token.
    """

    sid: str
    room_sid: str
    role: Role
    identity: str
    joined: int
    left: int | None = None
    noticed: int | None = None
    reason: str = ""
    outcome: str | None = None  # the attribute interview.outcome, as it is when it leaves
    media: bool = True  # False: its media never came up, LiveKit says participant_connection_aborted
    dispatched: bool = False  # comes only if the deployment has dispatched it


@dataclass(frozen=True, slots=True)
class Room:
    """One room sid under the interview's room name. A room that was killed with its server is never finished."""

    sid: str
    created: int
    finished: int | None = None
    killed: int | None = None

    @property
    def over(self) -> int | None:
        return self.finished if self.killed is None else self.killed


@dataclass(frozen=True, slots=True)
class Report:
    """What the agent says by POST .../complete."""

    said: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What the deployment has to say once all is over; a living interview has no end."""

    status: str
    end_reason: str | None
    started: int | None
    ended: int | None

    @property
    def key(self) -> str:
        return f"{self.status} / {self.end_reason}" if self.end_reason else self.status


@dataclass(frozen=True, slots=True)
class History:
    """All that truly happens in one interview, and what follows from it."""

    name: str
    kind: str
    expected: Expected
    max_duration: int  # seconds
    closes: int | None = None
    tokens: tuple[int, ...] = ()
    connections: tuple[Connection, ...] = ()
    rooms: tuple[Room, ...] = ()
    deletions: tuple[int, ...] = ()  # by somebody else than the deployment
    reports: tuple[Report, ...] = ()
    cancelled: int | None = None

    @property
    def over(self) -> int:
        """The last instant at which somebody does something, or something becomes true; rooms may outlast it."""
        known = [self.expected.ended, self.cancelled, *self.tokens]
        known += [at for visit in self.connections for at in (visit.joined, visit.left, visit.noticed)]
        known += [report.said for report in self.reports]
        return max((at for at in known if at is not None), default=0)

    @property
    def shortest_visit(self) -> int | None:
        """How long the briefest of the visits that count lasted; None if there was none that ended."""
        counted = [visit for visit in self.connections if visit.media and visit.role in (Role.CANDIDATE, Role.AGENT)]
        return min((visit.left - visit.joined for visit in counted if visit.left is not None), default=None)

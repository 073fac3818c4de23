"""What happens in one interview, as data. Instants are milliseconds since the start of the history."""

from dataclasses import dataclass
from enum import StrEnum

SECOND = 1000


def millis(seconds: float) -> int:
    return round(seconds * SECOND)


class Role(StrEnum):
    CANDIDATE = "candidate"
    AGENT = "agent"
    RECRUITER = "recruiter"  # hidden; does not affect the status
    AVATAR = "avatar"  # kind AGENT, publishes on the agent's behalf; does not affect the status
    LISTENER = "listener"  # kind AGENT and hidden, such as a transcriber; does not affect the status


@dataclass(frozen=True, slots=True)
class Connection:
    """One participant sid.

    `left` is when the participant was gone, `noticed` when LiveKit noticed and sent the event: 19 to 21 s later for a
    CONNECTION_TIMEOUT, never (None) if LiveKit's server was killed. `identity` is empty for the candidate: the
    deployment chooses it and puts it into the token.
    """

    sid: str
    room_sid: str
    role: Role
    identity: str
    joined: int
    left: int | None = None
    noticed: int | None = None
    reason: str = ""
    outcome: str | None = None  # value of the attribute interview.outcome when the agent leaves
    media: bool = True  # False: media never connected, LiveKit sends participant_connection_aborted
    dispatched: bool = False  # joins only if the deployment has dispatched it


@dataclass(frozen=True, slots=True)
class Room:
    """One room sid under the interview's room name. A room that was killed with its server never finishes."""

    sid: str
    created: int
    finished: int | None = None
    killed: int | None = None

    @property
    def ended(self) -> int | None:
        return self.finished if self.killed is None else self.killed


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What the agent sends to POST .../complete."""

    at: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Result:
    """The status of an interview, and when it started and ended. `ended` is None while it is running."""

    status: str
    end_reason: str | None
    started: int | None
    ended: int | None

    @property
    def label(self) -> str:
        return f"{self.status} / {self.end_reason}" if self.end_reason else self.status


@dataclass(frozen=True, slots=True)
class History:
    """Everything that happens in one interview, and the correct result."""

    name: str
    scenario: str
    expected: Result
    max_duration: int  # seconds
    closes: int | None = None
    tokens: tuple[int, ...] = ()
    connections: tuple[Connection, ...] = ()
    rooms: tuple[Room, ...] = ()
    deletions: tuple[int, ...] = ()  # of the room, not by the deployment
    reports: tuple[AgentReport, ...] = ()
    cancelled: int | None = None

    @property
    def end(self) -> int:
        """The last instant at which anything happens or the status changes. Rooms may exist for longer."""
        instants = [self.expected.ended, self.cancelled, *self.tokens]
        instants += [at for each in self.connections for at in (each.joined, each.left, each.noticed)]
        instants += [report.at for report in self.reports]
        return max((at for at in instants if at is not None), default=0)

    @property
    def shortest_connection(self) -> int | None:
        """Duration of the shortest connection of candidate or agent that ended; None if none did."""
        counted = [each for each in self.connections if each.media and each.role in (Role.CANDIDATE, Role.AGENT)]
        return min((each.left - each.joined for each in counted if each.left is not None), default=None)

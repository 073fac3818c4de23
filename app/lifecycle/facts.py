"""The facts about one attempt of an interview: what is known, never what it means.

*Evidence* comes from LiveKit (connections, rooms, who was there when asked), *statements* from callers and from this
service (a token issued, a cancel, a completion report), and a *decision* is the end of the attempt as first stored.
All instants are aware datetimes; all durations are timedeltas.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.lifecycle.status import EndReason, Status


class Role(StrEnum):
    CANDIDATE = "CANDIDATE"
    AGENT = "AGENT"
    OTHER = "OTHER"


class Outcome(StrEnum):
    """What an agent says of the conversation: by its attribute `interview.outcome`, or by POST .../complete."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


# Leave reasons, as LiveKit's DisconnectReason names them.
CLIENT_INITIATED = "CLIENT_INITIATED"
CONNECTION_TIMEOUT = "CONNECTION_TIMEOUT"
DUPLICATE_IDENTITY = "DUPLICATE_IDENTITY"
ROOM_CLOSED = "ROOM_CLOSED"
ROOM_DELETED = "ROOM_DELETED"
UNKNOWN = "UNKNOWN"  # ours: no reason was told, or the leave was inferred


@dataclass(frozen=True, slots=True)
class Connection:
    """One LiveKit participant sid in the attempt's room.

    joined_order and left_order are the places of the two webhooks in LiveKit's queue for the room, as received: they
    decide within one second, because LiveKit stamps a leave with whole seconds only.
    left_at is the end of the second that LiveKit named; for a CONNECTION_TIMEOUT 20 s before it.
    missing_at is when LiveKit, asked, no longer had the sid: an inference, which a webhook beats. seen_at is when it
    was last asked and had it.
    """

    sid: str
    room_sid: str
    identity: str
    role: Role
    joined_at: datetime
    joined_order: int
    left_at: datetime | None = None
    left_order: int | None = None
    leave_reason: str | None = None
    outcome: Outcome | None = None
    missing_at: datetime | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """One LiveKit room sid under the attempt's room name; a name lives again when somebody joins with an old token.

    ended_at was told by a webhook, missing_at is when LiveKit, asked, had it no more.
    """

    sid: str
    created_at: datetime
    ended_at: datetime | None = None
    missing_at: datetime | None = None

    @property
    def gone_at(self) -> datetime | None:
        return self.ended_at or self.missing_at


@dataclass(frozen=True, slots=True)
class Report:
    """POST .../complete, said by the agent: COMPLETED or FAILED."""

    said_at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of an attempt, as first stored. It is final, but for a completion report that amends it."""

    cause: str
    ended_at: datetime
    status: Status
    end_reason: EndReason | None
    started_at: datetime | None
    talk_time: timedelta


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each thing is waited for. Those that a deployment may want otherwise are settings."""

    grace: timedelta = timedelta(seconds=120)
    """Started, the candidate gone: until it is given up."""
    agent: timedelta = timedelta(seconds=90)
    """The candidate connected, no agent: until it is given up."""
    dispatch: timedelta | None = timedelta(seconds=30)
    """The candidate connected, no agent: until one is dispatched by the API; None: this deployment dispatches none."""
    token: timedelta = timedelta(seconds=120)
    """After a token was issued: until the candidate should have connected."""
    idle: timedelta = timedelta(hours=24)
    """Without closesAt: from the last token or leave until it is given up."""
    waited: timedelta = timedelta(seconds=30)
    """A candidate that waited so long in all did not just look in."""
    goodbye: timedelta = timedelta(seconds=10)
    """From the end until the room is deleted, so that the agent's last words are heard."""
    amend: timedelta = timedelta(minutes=15)
    """After the end: how long a completion report still beats FAILED and ABANDONED."""
    silence: timedelta = timedelta(hours=24)
    """A due deadline is decided on what is stored when LiveKit could not be asked for so long."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one attempt."""

    max_duration: timedelta
    closes_at: datetime | None = None
    connections: tuple[Connection, ...] = ()
    rooms: tuple[Room, ...] = ()
    last_token_at: datetime | None = None
    cancelled_at: datetime | None = None
    reports: tuple[Report, ...] = ()
    decision: Decision | None = None
    asked_at: datetime | None = None
    """When LiveKit was last asked who is in the room, and answered."""
    room_gone_at: datetime | None = None
    """When this service last deleted the room, or tried to and found none."""
    dispatches: int = 0
    """How many agents this service has dispatched."""
    dispatched_at: datetime | None = None
    """When it last did."""
    told: timedelta | None = None
    """The least time left of which the people in the room were told."""

"""The facts about one attempt of an interview: what is known, without interpretation.

*Evidence* comes from LiveKit (connections, rooms, snapshots), *statements* from callers and from this service (an
issued token, a cancel, a completion report), and a *decision* is the end of the attempt as first stored.
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
    """How the agent rates the conversation: by its attribute `interview.outcome`, or by POST .../complete."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"


# Leave reasons, as LiveKit's DisconnectReason names them.
CLIENT_INITIATED = "CLIENT_INITIATED"
CONNECTION_TIMEOUT = "CONNECTION_TIMEOUT"
DUPLICATE_IDENTITY = "DUPLICATE_IDENTITY"
ROOM_CLOSED = "ROOM_CLOSED"
ROOM_DELETED = "ROOM_DELETED"
UNKNOWN = "UNKNOWN"  # ours: LiveKit gave no reason, or the leave was inferred


@dataclass(frozen=True, slots=True)
class Connection:
    """One LiveKit participant sid in the attempt's room.

    joined_order and left_order are the positions of the two webhooks in LiveKit's queue for the room, as received. They
    decide within one second, because LiveKit stamps a leave with whole seconds only.
    left_at is the end of that second; for a CONNECTION_TIMEOUT 20 s before it.
    missing_at is when a snapshot first lacked the sid: an inference, which a webhook beats. seen_at is when a snapshot
    last had it.
    can_amend is False for a leave that was recorded before a late one could amend an end: what was stored then stays.
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
    can_amend: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    """One LiveKit room sid under the attempt's room name. Joining with an old token creates a new room of that name.

    ended_at comes from a webhook, missing_at from the first snapshot without the room.
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
    """The agent's POST .../complete: COMPLETED or FAILED."""

    reported_at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of an attempt, as first stored. It is final; only a completion can amend status and reason."""

    rule: str
    ended_at: datetime
    status: Status
    end_reason: EndReason | None
    started_at: datetime | None
    talk_time: timedelta


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the rules wait. What a deployment may want to change is a setting."""

    candidate_grace: timedelta = timedelta(seconds=120)  # for an absent candidate, once started
    agent_wait: timedelta = timedelta(seconds=90)  # for an agent, while the candidate is connected
    dispatch_after: timedelta | None = timedelta(seconds=30)  # the same, until one is dispatched; None: never
    token_wait: timedelta = timedelta(seconds=120)  # for the candidate to connect, after a token was issued
    idle_timeout: timedelta = timedelta(hours=24)  # without closesAt: after the last token or leave
    candidate_waited: timedelta = timedelta(seconds=30)  # who is connected for less in all did not wait for an agent
    delete_room_after: timedelta = timedelta(seconds=10)  # after the end, so that the agent can say goodbye
    last_start: timedelta = timedelta(minutes=30)  # after closesAt or the first token, whichever is later
    last_start_without_closing: timedelta = timedelta(days=7)  # after the first token, without closesAt
    loss_window: timedelta = timedelta(minutes=10)  # for the third loss of an agent
    amend_window: timedelta = timedelta(minutes=15)  # after the end, for a completion that replaces FAILED or ABANDONED
    max_livekit_outage: timedelta = timedelta(hours=24)  # then a due deadline is decided on the stored facts


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one attempt."""

    max_duration: timedelta
    closes_at: datetime | None = None
    connections: tuple[Connection, ...] = ()
    rooms: tuple[Room, ...] = ()
    first_token_at: datetime | None = None
    last_token_at: datetime | None = None
    cancelled_at: datetime | None = None
    reports: tuple[Report, ...] = ()
    decision: Decision | None = None
    checked_at: datetime | None = None  # when LiveKit last showed who is in the room
    room_gone_at: datetime | None = None  # when this service last deleted the room, or tried to and found none
    dispatches: int = 0  # agents that this service has dispatched
    dispatched_at: datetime | None = None  # when it last dispatched one
    announced: timedelta | None = None  # the least time left that was announced in the room

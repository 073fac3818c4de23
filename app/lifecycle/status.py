"""The statuses of an interview, as stored and as callers see them, and the reasons for its end."""

from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """The stored status of an interview. SCHEDULED is not stored: it is READY_TO_JOIN read before opensAt."""

    READY_TO_JOIN = "READY_TO_JOIN"
    WAITING_FOR_AGENT = "WAITING_FOR_AGENT"
    IN_PROGRESS = "IN_PROGRESS"
    RECONNECTING = "RECONNECTING"
    COMPLETED = "COMPLETED"
    ABANDONED = "ABANDONED"
    FAILED = "FAILED"
    NO_SHOW = "NO_SHOW"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.ABANDONED, Status.FAILED, Status.NO_SHOW, Status.CANCELLED})
# Somebody is in the room, or is expected back.
LIVE_STATUSES = (Status.WAITING_FOR_AGENT, Status.IN_PROGRESS, Status.RECONNECTING)


class EndReason(StrEnum):
    """Why an attempt ended, where the status alone does not say."""

    AGENT_REPORTED = "AGENT_REPORTED"
    AGENT_LEFT = "AGENT_LEFT"
    ROOM_DELETED = "ROOM_DELETED"
    MAX_DURATION_REACHED = "MAX_DURATION_REACHED"
    CANDIDATE_LEFT = "CANDIDATE_LEFT"
    AGENT_UNAVAILABLE = "AGENT_UNAVAILABLE"
    CONNECTION_LOST = "CONNECTION_LOST"
    CANDIDATE_CONNECTION_FAILED = "CANDIDATE_CONNECTION_FAILED"
    LEFT_BEFORE_START = "LEFT_BEFORE_START"


class PublicStatus(StrEnum):
    """The statuses that callers see: each stored one, and SCHEDULED, which is READY_TO_JOIN before opensAt."""

    SCHEDULED = "SCHEDULED"
    READY_TO_JOIN = Status.READY_TO_JOIN
    WAITING_FOR_AGENT = Status.WAITING_FOR_AGENT
    IN_PROGRESS = Status.IN_PROGRESS
    RECONNECTING = Status.RECONNECTING
    COMPLETED = Status.COMPLETED
    ABANDONED = Status.ABANDONED
    FAILED = Status.FAILED
    NO_SHOW = Status.NO_SHOW
    CANCELLED = Status.CANCELLED


def public_status(status: Status, *, opens_at: datetime | None, now: datetime) -> PublicStatus:
    is_scheduled = status is Status.READY_TO_JOIN and opens_at is not None and now < opens_at
    return PublicStatus.SCHEDULED if is_scheduled else PublicStatus(status)

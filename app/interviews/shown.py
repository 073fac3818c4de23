"""The status as callers see it."""

from datetime import datetime
from enum import StrEnum

from app.lifecycle import Status


class ShownStatus(StrEnum):
    """The statuses that callers see: the stored ones, and SCHEDULED, which is READY_TO_JOIN before opensAt."""

    SCHEDULED = "SCHEDULED"
    READY_TO_JOIN = "READY_TO_JOIN"
    WAITING_FOR_AGENT = "WAITING_FOR_AGENT"
    IN_PROGRESS = "IN_PROGRESS"
    RECONNECTING = "RECONNECTING"
    COMPLETED = "COMPLETED"
    ABANDONED = "ABANDONED"
    FAILED = "FAILED"
    NO_SHOW = "NO_SHOW"
    CANCELLED = "CANCELLED"


def shown_status(status: Status, *, opens_at: datetime | None, now: datetime) -> ShownStatus:
    is_scheduled = status is Status.READY_TO_JOIN and opens_at is not None and now < opens_at
    return ShownStatus.SCHEDULED if is_scheduled else ShownStatus(status)

"""The history of an interview: the timeline for people, changes for streams and webhooks."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base
from app.models.interview import Interview


class TimelineEntry(Base):
    """An event of an interview: from LiveKit, an API call, a decision or a change of status. Append only.

    Entries are written under the interview's lock, so ids and `at`, the time of writing, have the same order.
    """

    __tablename__ = "timeline"
    __table_args__ = (Index(None, "interview_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    kind: Mapped[str]
    name: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    livekit_event_id: Mapped[str | None] = mapped_column(unique=True)

    @classmethod
    def about(cls, interview: Interview, *, kind: str, name: str, detail: dict[str, Any]) -> Self:
        """Return an entry for the locked interview's current attempt. kind: livekit, call, service or status."""
        return cls(interview_id=interview.id, attempt=interview.attempt, kind=kind, name=name, detail=detail)


class ChangeType(StrEnum):
    """The type of a change, which is the event type of streams and webhooks."""

    SCHEDULED = "interview.scheduled"
    STATUS_CHANGED = "interview.status_changed"
    AMENDED = "interview.amended"
    """The agent's report has corrected how it ended."""
    UPDATED = "interview.updated"
    """Its details or times have changed, its status has not."""
    RESULT_AVAILABLE = "interview.result_available"
    """The agent has reported a summary or a result that was not stored yet."""
    TRANSCRIPT_AVAILABLE = "interview.transcript_available"
    """An attempt with a transcript is over, or lines of it came after its end."""
    PERSONAL_DATA_ERASED = "interview.personal_data_erased"
    """Only ids and times are left of it: erase your copies too."""


class Change(Base):
    """A change that streams and webhooks publish, with public statuses. Append only.

    Ids are not in the order of the commits. But in the order of (xid, id), below the snapshot's xmin, no change can be
    added. xid is that of its transaction, or of the interview's previous change if that is higher.
    """

    __tablename__ = "changes"
    __table_args__ = (
        Index(None, "organization_id", "xid", "id"),
        Index("uq_changes_interview_id_sequence", "interview_id", "sequence", unique=True),
        Index(None, "organization_id", "at"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    xid: Mapped[int] = mapped_column(server_default=text("pg_current_xact_id()::text::bigint"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    sequence: Mapped[int]
    at: Mapped[datetime]
    type: Mapped[str]
    attempt: Mapped[int]
    status: Mapped[str]
    previous_status: Mapped[str | None]
    end_reason: Mapped[str | None]

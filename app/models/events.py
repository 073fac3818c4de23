"""What is told of an interview: to people by the timeline, to programs by the changes."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base
from app.models.interview import Interview


class TimelineEntry(Base):
    """What happened to an interview, in order: LiveKit's events, calls, decisions, changes of status. Append only.

    `at` is when it was written, which is done under the interview's lock: so it and the id are in one order.
    """

    __tablename__ = "timeline"
    __table_args__ = (Index("ix_timeline_interview_id_id", "interview_id", "id"),)

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
        """Return an entry on the locked interview's current attempt. kind: livekit, call, service or status."""
        return cls(interview_id=interview.id, attempt=interview.attempt, kind=kind, name=name, detail=detail)


class ChangeType(StrEnum):
    """What a change was."""

    SCHEDULED = "interview.scheduled"
    STATUS_CHANGED = "interview.status_changed"
    AMENDED = "interview.amended"
    """The agent's report has corrected an end that was told before."""
    UPDATED = "interview.updated"
    """Its details or times are others; the status is the same."""
    PERSONAL_DATA_ERASED = "interview.personal_data_erased"
    """Only ids and times are left of it: whoever keeps a copy is to erase it too."""


class Change(Base):
    """A change that callers are told of: the stream reads it here, and webhooks are made of it. Append only.

    In the order of (xid, id), below the snapshot's xmin, no change comes late: ids alone are not in the order of the
    commits. xid is that of its transaction, or of the change before where that is higher. Statuses are as they were
    shown.
    """

    __tablename__ = "changes"
    __table_args__ = (
        Index("ix_changes_organization_id_xid_id", "organization_id", "xid", "id"),
        Index("uq_changes_interview_id_sequence", "interview_id", "sequence", unique=True),
        Index("ix_changes_organization_id_at", "organization_id", "at"),
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

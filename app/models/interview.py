"""The interview: one flat row with everything that join needs."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, event, inspect, text
from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, Mapper, mapped_column, validates

from app.core.search_text import searchable
from app.lifecycle import LIVE_STATUSES, EndReason, Status
from app.livekit.rooms import room_name
from app.models.base import Base, one_of

SEARCHED = ("participant_name", "job_title", "phone_number")


def _search_text(context: DefaultExecutionContext) -> str:
    """Return the search_text of a new row, for inserts by the session and by statements."""
    row = context.get_current_parameters()  # type: ignore[no-untyped-call] # SQLAlchemy has not annotated it
    return searchable(**{name: row[name] for name in SEARCHED})


class Interview(Base):
    """An interview and the status derived from its facts at settled_at. max_duration is in seconds.

    `context` is for the agent only: no token carries it, and it is loaded on request. `sequence` counts the changes.
    """

    __tablename__ = "interviews"
    __table_args__ = (
        CheckConstraint(one_of("status", Status), name="status"),
        CheckConstraint(one_of("end_reason", EndReason), name="end_reason"),
        Index(None, "organization_id", "created_at", "id"),
        Index(None, "organization_id", "status", "created_at", "id"),
        Index("ix_interviews_live", "id", postgresql_where=text(one_of("status", LIVE_STATUSES))),
        Index(None, "next_deadline_at", postgresql_where=text("next_deadline_at IS NOT NULL")),
        Index(None, "organization_id", "job_post_id", "created_at", "id"),
        Index(None, "organization_id", "application_id"),
        Index(None, "organization_id", "candidate_id"),
        Index(None, "organization_id", "updated_at", "id"),
        Index(None, "organization_id", "opens_at", postgresql_where=text("opens_at IS NOT NULL")),
        # A GiST index skips pages outside the range of opens_at and orders by the distance of created_at from an
        # instant: it finds the newest that open before a day without scanning all that open later.
        Index(
            "ix_interviews_created_and_opens",
            "organization_id",
            "created_at",
            "opens_at",
            postgresql_using="gist",
            postgresql_where=text("opens_at IS NOT NULL"),
        ),
        Index(
            "ix_interviews_to_come",
            "organization_id",
            "job_post_id",
            "opens_at",
            postgresql_where=text("status = 'READY_TO_JOIN'"),
        ),
        Index(None, "search_text", postgresql_using="gin", postgresql_ops={"search_text": "gin_trgm_ops"}),
        Index(
            "ix_interviews_to_erase",
            "ended_at",
            "id",
            postgresql_where=text("ended_at IS NOT NULL AND personal_data_erased_at IS NULL"),
        ),
    )

    # SQLAlchemy inserts many rows in one statement only with a sentinel generated on the client.
    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, default=uuid.uuid4, insert_sentinel=True, server_default=text("gen_random_uuid()")
    )
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    candidate_id: Mapped[str]
    application_id: Mapped[str]
    job_post_id: Mapped[str]
    participant_name: Mapped[str]
    phone_number: Mapped[str]
    job_title: Mapped[str]
    company_name: Mapped[str]
    instructions: Mapped[str]
    max_duration: Mapped[int]
    opens_at: Mapped[datetime | None]
    closes_at: Mapped[datetime | None]

    invite_hash: Mapped[bytes | None]
    invite_expires_at: Mapped[datetime | None]

    context: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True), deferred=True)

    # What `q` searches; kept up to date with SEARCHED.
    search_text: Mapped[str] = mapped_column(default=_search_text, server_default=text("''"), deferred=True)

    sequence: Mapped[int] = mapped_column(server_default=text("0"))
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    status: Mapped[Status] = mapped_column(server_default=text("'READY_TO_JOIN'"))
    end_reason: Mapped[EndReason | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    talk_time: Mapped[timedelta] = mapped_column(server_default=text("'0'"))
    talking_since: Mapped[datetime | None]

    # The decision: how the attempt ended, as first stored. A report may amend status and end_reason.
    decided_cause: Mapped[str | None]
    decided_status: Mapped[Status | None]
    decided_end_reason: Mapped[EndReason | None]

    # Requests, and actions of this service, in the current attempt.
    cancelled_at: Mapped[datetime | None]
    asked_at: Mapped[datetime | None]
    room_gone_at: Mapped[datetime | None]
    dispatches: Mapped[int] = mapped_column(server_default=text("0"))
    dispatched_at: Mapped[datetime | None]
    told: Mapped[timedelta | None]
    revivals: Mapped[int] = mapped_column(server_default=text("0"))
    opened_by_join: Mapped[int] = mapped_column(server_default=text("0"))

    # The row is the job: due at next_deadline_at, unless it is leased or postponed.
    next_deadline_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    settled_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    # From then on the row has only ids, times and how it ended.
    personal_data_erased_at: Mapped[datetime | None]

    @property
    def room_name(self) -> str:
        return room_name(self.id, self.attempt)

    @property
    def candidate_identity(self) -> str:
        return f"candidate-{self.candidate_id}"

    @validates("updated_at")
    def _never_set_back(self, _: str, value: datetime) -> datetime:
        """Keep it growing, as pages by updated_at require: a request that waited for the lock has an older instant."""
        before: datetime | None = self.__dict__.get("updated_at")
        return max(before, value) if before else value


@event.listens_for(Interview, "before_update")
def _keep_search_text(_mapper: Mapper[Interview], _connection: DatabaseConnection, interview: Interview) -> None:
    attributes = inspect(interview).attrs
    if any(attributes[name].history.has_changes() for name in SEARCHED):
        interview.search_text = searchable(**{name: getattr(interview, name) for name in SEARCHED})


class InterviewCount(Base):
    """How many interviews of a job post have a stored status, without count_changes. Only compact_counts writes it."""

    __tablename__ = "interview_counts"

    organization_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    job_post_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]


class CountChange(Base):
    """A number to add to a count, appended by triggers on interviews, so that no transaction waits for a counter."""

    __tablename__ = "count_changes"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organization_id: Mapped[uuid.UUID]
    job_post_id: Mapped[str]
    status: Mapped[str]
    number: Mapped[int]

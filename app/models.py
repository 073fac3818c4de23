"""The tables. One aggregate, the interview; the rest are facts about it, and the tenants that it belongs to."""

import enum
import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.lifecycle import EndReason, Outcome, Role, Status


def _one_of(column: str, names: type[enum.Enum]) -> str:
    """A check, not a Postgres enum: a new name is then an ordinary migration."""
    values = ", ".join(f"'{name.value}'" for name in names)
    return f"{column} IN ({values})"


class Organization(Base):
    """A tenant: the owner of API keys and interviews, with the defaults of its interviews."""

    __tablename__ = "organizations"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(unique=True)
    company_name: Mapped[str]
    instructions_template: Mapped[str]
    max_duration: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ApiKey(Base):
    """A secret of an organization, of which only the SHA-256 is kept."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Interview(Base):
    """An interview: all that join needs, and what its facts say as of settled_at. max_duration is in seconds."""

    __tablename__ = "interviews"
    __table_args__ = (
        CheckConstraint(_one_of("status", Status), name="status"),
        CheckConstraint(_one_of("end_reason", EndReason), name="end_reason"),
        Index("ix_interviews_organization_id_created_at_id", "organization_id", "created_at", "id"),
        Index("ix_interviews_organization_id_status_created_at_id", "organization_id", "status", "created_at", "id"),
        Index(
            "ix_interviews_next_deadline_at",
            "next_deadline_at",
            postgresql_where=text("next_deadline_at IS NOT NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
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

    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    status: Mapped[Status] = mapped_column(server_default=text("'READY_TO_JOIN'"))
    end_reason: Mapped[EndReason | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    talk_time: Mapped[timedelta] = mapped_column(server_default=text("'0'"))
    talking_since: Mapped[datetime | None]

    # The decision: how the attempt ended, as first stored. A completion report may amend status and end_reason.
    decided_cause: Mapped[str | None]
    decided_status: Mapped[Status | None]
    decided_end_reason: Mapped[EndReason | None]

    next_deadline_at: Mapped[datetime | None]
    settled_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    @property
    def room_name(self) -> str:
        return room_name(self.id, self.attempt)

    @property
    def candidate_identity(self) -> str:
        return f"candidate-{self.candidate_id}"


class Connection(Base):
    """One LiveKit participant sid. The orders are the timeline ids of the webhooks that told of it."""

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint(_one_of("role", Role), name="role"),
        CheckConstraint(_one_of("outcome", Outcome), name="outcome"),
    )

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    sid: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    room_sid: Mapped[str]
    identity: Mapped[str]
    role: Mapped[Role]
    joined_at: Mapped[datetime]
    joined_order: Mapped[int]
    left_at: Mapped[datetime | None]
    left_order: Mapped[int | None]
    leave_reason: Mapped[str | None]
    outcome: Mapped[Outcome | None]


class Room(Base):
    """One LiveKit room sid: a room name lives again, under a new sid, when somebody joins after its end."""

    __tablename__ = "rooms"

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    sid: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class JoinRequest(Base):
    """A call of join and how it was answered: TOKEN_ISSUED or the error's code. Append only."""

    __tablename__ = "join_requests"
    __table_args__ = (Index("ix_join_requests_interview_id_at", "interview_id", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    answer: Mapped[str]


class TimelineEntry(Base):
    """What happened to an interview, in order: LiveKit's events, calls, decisions, changes of status. Append only."""

    __tablename__ = "timeline"
    __table_args__ = (Index("ix_timeline_interview_id_id", "interview_id", "id"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    kind: Mapped[str]
    name: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    livekit_event_id: Mapped[str | None] = mapped_column(unique=True)


def room_name(interview_id: uuid.UUID, attempt: int) -> str:
    """Return the LiveKit room of an attempt: interview-{id}, then interview-{id}-2."""
    return f"interview-{interview_id}" if attempt == 1 else f"interview-{interview_id}-{attempt}"

"""The facts from which an interview's status is derived."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.lifecycle import Outcome, Role
from app.models.base import Base, one_of


class Connection(Base):
    """One LiveKit participant sid. The orders are the timeline ids of the webhooks that reported it.

    left_recorded_at is when the webhook of the leave was recorded; a version without the column leaves it empty.
    """

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint(one_of("role", Role), name="role"),
        CheckConstraint(one_of("outcome", Outcome), name="outcome"),
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
    left_recorded_at: Mapped[datetime | None]
    outcome: Mapped[Outcome | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    seen_at: Mapped[datetime | None]
    missing_at: Mapped[datetime | None]


class Room(Base):
    """One LiveKit room sid. When somebody joins after a room has ended, its name gets a new sid."""

    __tablename__ = "rooms"
    __table_args__ = (
        Index("ix_rooms_open", "interview_id", postgresql_where=text("ended_at IS NULL AND missing_at IS NULL")),
    )

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    sid: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    missing_at: Mapped[datetime | None]


class JoinRequest(Base):
    """A join that got a token (TOKEN_ISSUED), or one with a wrong credential (the error's code). Append only.

    Other refused joins are counted by RefusedJoins; older rows may have their codes.

    `address` is a keyed hash, different for each interview, stored only if the join policy asks for a credential.
    """

    __tablename__ = "join_requests"
    __table_args__ = (Index(None, "interview_id", "answer", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    at: Mapped[datetime]
    answer: Mapped[str]
    address: Mapped[bytes | None]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class RefusedJoins(Base):
    """How many joins of an attempt were refused with the same error's code in a minute, wrong credentials apart.

    Counted, as whoever knows an interview's id can cause any number of them. recorded_at is that of the first.
    """

    __tablename__ = "refused_joins"
    __table_args__ = (UniqueConstraint("interview_id", "minute", "attempt", "answer"), Index(None, "minute"))

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    attempt: Mapped[int]
    minute: Mapped[datetime]
    answer: Mapped[str]
    number: Mapped[int]
    recorded_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class WrongTry(Base):
    """A wrong phone number or invite in the last hour. Older ones are deleted with the next one."""

    __tablename__ = "wrong_tries"
    __table_args__ = (Index(None, "interview_id", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"))
    at: Mapped[datetime]
    address: Mapped[bytes]


class Report(Base):
    """A completion report of the agent, one for each attempt and outcome."""

    __tablename__ = "reports"
    __table_args__ = (CheckConstraint(one_of("outcome", Outcome), name="outcome"),)

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    outcome: Mapped[Outcome] = mapped_column(primary_key=True)
    said_at: Mapped[datetime]
    last_said_at: Mapped[datetime]
    summary: Mapped[str | None]
    result: Mapped[Any | None] = mapped_column(JSONB)

"""Internal state of the service: idempotency keys, periodic tasks, probes."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class IdempotencyKey(Base):
    """The stored response to a request with an Idempotency-Key. The fingerprint is of method, path and body.

    `interview_ids` are the interviews in the response: it holds names, which are erased together with theirs.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"), Index(None, "interview_ids", postgresql_using="gin"))

    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    interview_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid), server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Tick(Base):
    """A periodic task, run by the process that locks its row."""

    __tablename__ = "ticks"

    name: Mapped[str] = mapped_column(primary_key=True)
    last_run: Mapped[datetime] = mapped_column(server_default=text("to_timestamp(0)"))


class Probe(Base):
    """A room that `interviews doctor` created to check that LiveKit's webhook about it arrives."""

    __tablename__ = "probes"

    room: Mapped[str] = mapped_column(primary_key=True)
    made_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    arrived_at: Mapped[datetime | None]

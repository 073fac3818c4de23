"""Outgoing webhooks."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class WebhookEndpoint(Base):
    """A URL to which an organization's changes are sent. No event types means all of them.

    The secrets are stored in plain text, because each message is signed with them. A deleted endpoint stays for a day
    without its secrets, so that a concurrent change never refers to a missing row.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        CheckConstraint("disabled_reason IN ('GONE', 'FAILING', 'MANUAL')", name="disabled_reason"),
        CheckConstraint("(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled"),
        Index(None, "organization_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str]]
    secret: Mapped[str]
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    """Failed attempts since the last success."""
    failing_since: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    """By the receiver's Retry-After."""
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class Delivery(Base):
    """A change to be sent to an endpoint, or a test (without a change). The row is the job: due at next_attempt_at.

    While it is claimed, next_attempt_at is the end of the lease, and `claim` the fencing token that finishing needs.
    `attempts` counts since `since`: a replay starts from zero.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("state IN ('PENDING', 'DELIVERED', 'FAILED')", name="state"),
        UniqueConstraint("endpoint_id", "change_id"),
        Index("ix_deliveries_pending", "endpoint_id", "next_attempt_at", postgresql_where=text("state = 'PENDING'")),
        Index(None, "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(None, "endpoint_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_endpoints.id"))
    change_id: Mapped[int | None] = mapped_column(ForeignKey("changes.id"))
    state: Mapped[str] = mapped_column(server_default=text("'PENDING'"))
    created_at: Mapped[datetime]
    since: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    next_attempt_at: Mapped[datetime]
    claim: Mapped[uuid.UUID | None]
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class DeliveryAttempt(Base):
    """One attempt of a delivery. Of the response only the status is stored."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (Index(None, "delivery_id", "at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    duration: Mapped[timedelta]
    status_code: Mapped[int | None]
    error: Mapped[str | None]

"""Organizations and their API keys."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.settings import JoinPolicy
from app.lifecycle import EndReason
from app.models.base import Base, one_of


class RejoinAfterFailure(StrEnum):
    """When a join after FAILED opens the next attempt by itself.

    A candidate that cuts its own connection makes the attempt fail as CONNECTION_LOST, and could gain another one.
    """

    ALWAYS = "always"
    BEFORE_START = "before_start"  # not after CONNECTION_LOST, which only a conversation that has started ends with
    NEVER = "never"

    def allows(self, end_reason: EndReason | None) -> bool:
        """Return whether a join may open the next attempt after one that FAILED for this reason."""
        return self is self.ALWAYS or (self is self.BEFORE_START and end_reason is not EndReason.CONNECTION_LOST)


class Organization(Base):
    """A tenant: the owner of API keys and interviews, and the defaults of new interviews."""

    __tablename__ = "organizations"
    __table_args__ = (
        CheckConstraint(one_of("join_policy", JoinPolicy), name="join_policy"),
        CheckConstraint(one_of("rejoin_after_failure", RejoinAfterFailure), name="rejoin_after_failure"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(unique=True)
    company_name: Mapped[str]
    instructions_template: Mapped[str]
    max_duration: Mapped[int]
    join_policy: Mapped[JoinPolicy | None]
    rejoin_after_failure: Mapped[RejoinAfterFailure] = mapped_column(server_default=RejoinAfterFailure.ALWAYS)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ApiKey(Base):
    """An organization's API key, of which only the SHA-256 is stored."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Coarse: see app.auth.last_use."""

    @property
    def short_id(self) -> str:
        """The public part of a key: ik_{short_id}_..."""
        return self.id.hex[:12]

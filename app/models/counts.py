"""How many interviews there are, kept by triggers on their table: counting a million takes too long for each look."""

import uuid

from sqlalchemy import Identity
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class InterviewCount(Base):
    """How many interviews of a job post have a stored status, without the changes since. Only folding writes it."""

    __tablename__ = "interview_counts"

    organization_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    job_post_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]


class CountChange(Base):
    """So many more, or fewer, interviews. Appended in the transaction that changes them: nobody waits for a counter."""

    __tablename__ = "count_changes"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    organization_id: Mapped[uuid.UUID]
    job_post_id: Mapped[str]
    status: Mapped[str]
    number: Mapped[int]

"""What an agent stores while an interview runs: the transcript, and the place that it has reached."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class TranscriptLine(Base):
    """What somebody said. `line_id` is the agent's; `said_at` is by its clock.

    `position` counts the attempt's lines from 1. It is given under the interview's lock, so positions have the order of
    the commits: no line is ever added before one that was read.
    """

    __tablename__ = "transcript_lines"
    __table_args__ = (
        CheckConstraint("speaker IN ('agent', 'candidate')", name="speaker"),
        UniqueConstraint("interview_id", "attempt", "agent", "line_id"),
    )

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    agent: Mapped[str]
    line_id: Mapped[str]
    speaker: Mapped[str]
    text: Mapped[str]
    said_at: Mapped[datetime]


class Checkpoint(Base):
    """The last checkpoint of an interview's attempt. `earlier_agents` wrote before `agent`, and may not write again."""

    __tablename__ = "checkpoints"

    interview_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("interviews.id"), primary_key=True)
    attempt: Mapped[int]
    agent: Mapped[str]
    earlier_agents: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    sequence: Mapped[int]
    state: Mapped[Any] = mapped_column(JSONB)
    updated_at: Mapped[datetime]

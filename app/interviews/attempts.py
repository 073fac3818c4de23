"""Attempts: an interview that is over is opened again as a new attempt, in a new room; the one before is frozen."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.lifecycle import Status
from app.models import Interview, TimelineEntry


def open_next_attempt(session: AsyncSession, *, interview: Interview, now: datetime, why: str) -> None:
    """Open the next attempt of a locked interview. What the one before was stays on the timeline."""
    before = {"status": interview.status, "endReason": interview.end_reason}
    interview.attempt += 1
    interview.status = Status.READY_TO_JOIN
    interview.end_reason = None
    interview.started_at = None
    interview.ended_at = None
    interview.talk_time = timedelta()
    interview.talking_since = None
    interview.decided_cause = None
    interview.decided_status = None
    interview.decided_end_reason = None
    interview.next_deadline_at = interview.closes_at
    interview.settled_at = now
    interview.updated_at = now
    session.add(
        TimelineEntry(
            interview_id=interview.id,
            attempt=interview.attempt,
            at=now,
            kind="status",
            name="opened_again",
            detail={"why": why, "before": before},
        )
    )

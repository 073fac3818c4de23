"""Attempts: reopening an interview that is over starts a new attempt in a new room, and freezes the one before."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver_connection
from app.interviews.changes import count_change, record_changes
from app.lifecycle import PublicStatus, Status
from app.models import ChangeType, Interview, TimelineEntry


async def open_next_attempt(session: AsyncSession, *, interview: Interview, now: datetime, why: str) -> None:
    """Open the next attempt of a locked interview. The timeline keeps how the one before ended."""
    previous = interview.status
    before = {"status": previous, "endReason": interview.end_reason}
    interview.attempt += 1
    interview.status = Status.READY_TO_JOIN
    interview.end_reason = interview.started_at = interview.ended_at = interview.talking_since = None
    interview.talk_time = timedelta()
    interview.decided_cause = interview.decided_status = interview.decided_end_reason = None
    interview.cancelled_at = interview.asked_at = interview.room_gone_at = None
    interview.dispatched_at = interview.told = interview.leased_until = None
    interview.dispatches = interview.failures = 0
    interview.next_deadline_at = interview.closes_at
    interview.settled_at = interview.updated_at = now
    after = {"to": Status.READY_TO_JOIN, "endReason": None, "endedAt": None}  # what the audit compares
    detail = {"why": why, "before": before, **after}
    session.add(TimelineEntry.about(interview, kind="status", name="attempt_opened", detail=detail))
    change = count_change(interview, ChangeType.STATUS_CHANGED, PublicStatus(previous))
    await record_changes(await driver_connection(session), [change], now=now)

"""Actions on an interview: cancel, reopen, complete."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver_connection
from app.core.errors import InterviewErased, InterviewNotFound, InterviewNotOver, InterviewOver, NotStarted, WrongRoom
from app.interviews.changes import count_unmoved, record_changes
from app.interviews.queries import last_report
from app.interviews.status_update import lock_interview, open_next_attempt, update_statuses
from app.lifecycle import Outcome, Status, Timeouts
from app.models import ChangeType, Interview, Report, TimelineEntry


async def lock_owned(session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID) -> Interview:
    """Lock the organization's interview for a change. Raises InterviewNotFound, InterviewErased."""
    interview = await lock_interview(session, interview_id, organization_id=organization_id)
    if interview is None:
        raise InterviewNotFound
    if interview.personal_data_erased_at:
        raise InterviewErased
    return interview


async def cancel(
    session: AsyncSession, *, interview: Interview, reason: str | None = None, now: datetime, timeouts: Timeouts
) -> None:
    """Cancel a locked interview, unless it is cancelled already. Raises InterviewOver if it ended otherwise.

    A deadline that was due before the call wins, even if the worker has not handled it yet.
    """
    if interview.status is Status.CANCELLED:
        return
    if interview.status.is_terminal:
        raise InterviewOver("It has ended, so there is nothing to cancel.", interviewStatus=interview.status)
    interview.cancelled_at = interview.cancelled_at or now
    session.add(
        TimelineEntry.about(interview, kind="call", name="cancelled", detail={"reason": reason} if reason else {})
    )
    await update_statuses(await driver_connection(session), [interview], now=now, timeouts=timeouts)


async def reopen(
    session: AsyncSession,
    *,
    interview: Interview,
    closes_at: datetime | None,
    reason: str | None = None,
    now: datetime,
    timeouts: Timeouts,
) -> None:
    """Open the next attempt of a locked interview that is over. Raises InterviewNotOver."""
    if not interview.status.is_terminal:
        raise InterviewNotOver(interviewStatus=interview.status)
    interview.closes_at = closes_at
    interview.opened_by_join = 0
    await open_next_attempt(session, interview=interview, now=now, why="the recruiter opened it again", reason=reason)
    await update_statuses(await driver_connection(session), [interview], now=now, timeouts=timeouts)


@dataclass(frozen=True, slots=True)
class Completion:
    """The agent's report on the attempt with this room."""

    room_name: str
    outcome: Outcome
    summary: str | None
    result: Any


async def complete(
    session: AsyncSession, *, interview: Interview, report: Completion, now: datetime, timeouts: Timeouts
) -> None:
    """Record the agent's report on a locked interview; a repeated one replaces summary and result.

    Raises WrongRoom for the room of another attempt, NotStarted, and InterviewOver after a cancel.
    """
    if report.room_name != interview.room_name:
        raise WrongRoom(roomName=interview.room_name)
    if interview.status is Status.CANCELLED:
        raise InterviewOver("It was cancelled: no outcome is accepted any more.", interviewStatus=interview.status)
    if interview.started_at is None:
        raise NotStarted
    before = await last_report(session, interview=interview)
    is_new = _has_news(report, before)
    upsert = insert(Report).values(
        interview_id=interview.id,
        attempt=interview.attempt,
        outcome=report.outcome,
        said_at=now,
        last_said_at=now,
        summary=report.summary,
        result=report.result,
    )
    await session.execute(
        upsert.on_conflict_do_update(
            index_elements=[Report.interview_id, Report.attempt, Report.outcome],
            set_={name: upsert.excluded[name] for name in ("last_said_at", "summary", "result")},
        )
    )
    session.add(TimelineEntry.about(interview, kind="call", name="reported", detail={"outcome": report.outcome}))
    connection = await driver_connection(session)
    await update_statuses(connection, [interview], now=now, timeouts=timeouts)
    if is_new:
        change = count_unmoved(interview, ChangeType.RESULT_AVAILABLE, now)
        await record_changes(connection, [change])


def _has_news(report: Completion, before: Report | None) -> bool:
    """Return whether the report has a summary or a result that differs from the last one's."""
    given, known = (report.summary, report.result), (before.summary, before.result) if before else (None, None)
    # as JSON, because in Python True == 1
    return given != (None, None) and json.dumps(given, sort_keys=True) != json.dumps(known, sort_keys=True)

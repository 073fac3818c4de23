"""Reading: one interview or a page of them, with what a recruiter wants to see beside the row."""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import CursorInvalid, InterviewNotFound
from app.interviews.facts import load_facts
from app.lifecycle import Status, Visit, visits
from app.models import Interview, JoinRequest

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ShownStatus(StrEnum):
    """The statuses that callers see: the stored ones, and SCHEDULED, which is READY_TO_JOIN before opensAt."""

    SCHEDULED = "SCHEDULED"
    READY_TO_JOIN = "READY_TO_JOIN"
    WAITING_FOR_AGENT = "WAITING_FOR_AGENT"
    IN_PROGRESS = "IN_PROGRESS"
    RECONNECTING = "RECONNECTING"
    COMPLETED = "COMPLETED"
    ABANDONED = "ABANDONED"
    FAILED = "FAILED"
    NO_SHOW = "NO_SHOW"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class View:
    """An interview as of an instant."""

    interview: Interview
    status: ShownStatus
    talk_time: timedelta
    join_attempts: int
    connected: Sequence[Visit]
    """Who is in the room of the current attempt now."""


@dataclass(frozen=True, slots=True)
class Page:
    views: Sequence[View]
    next_cursor: str | None


async def get_interview(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID, now: datetime
) -> View:
    """Return the organization's interview. Raises InterviewNotFound, for another organization's as well."""
    interview = await session.scalar(
        select(Interview).where(Interview.id == interview_id, Interview.organization_id == organization_id)
    )
    if interview is None:
        raise InterviewNotFound
    return (await views_of(session, interviews=[interview], now=now))[0]


async def list_interviews(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    statuses: Sequence[ShownStatus],
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page:
    """Return a page of the organization's interviews, newest first. Raises CursorInvalid."""
    query = select(Interview).where(Interview.organization_id == organization_id)
    if statuses:
        query = query.where(or_(*(_has_status(status, now) for status in statuses)))
    if cursor:
        query = query.where(tuple_(Interview.created_at, Interview.id) < tuple_(*_parse_cursor(cursor)))
    query = query.order_by(Interview.created_at.desc(), Interview.id.desc()).limit(limit + 1)
    found = (await session.scalars(query)).all()
    next_cursor = _cursor(found[limit - 1]) if len(found) > limit else None
    return Page(await views_of(session, interviews=found[:limit], now=now), next_cursor)


async def views_of(session: AsyncSession, *, interviews: Sequence[Interview], now: datetime) -> list[View]:
    facts = await load_facts(session, interviews)
    counts = await _join_counts(session, [interview.id for interview in interviews])
    return [
        View(
            interview=interview,
            status=shown_status(interview, now),
            talk_time=_talk_time(interview, now),
            join_attempts=counts.get(interview.id, 0),
            connected=[visit for visit in visits(facts[interview.id]) if visit.departure is None],
        )
        for interview in interviews
    ]


def shown_status(interview: Interview, now: datetime) -> ShownStatus:
    scheduled = interview.status is Status.READY_TO_JOIN and interview.opens_at and now < interview.opens_at
    return ShownStatus.SCHEDULED if scheduled else ShownStatus(interview.status)


def _has_status(status: ShownStatus, now: datetime) -> ColumnElement[bool]:
    """Return the condition for a status as it is shown."""
    not_open_yet = and_(Interview.opens_at.is_not(None), Interview.opens_at > now)
    if status is ShownStatus.SCHEDULED:
        return and_(Interview.status == Status.READY_TO_JOIN, not_open_yet)
    if status is ShownStatus.READY_TO_JOIN:
        return and_(Interview.status == Status.READY_TO_JOIN, ~not_open_yet)
    return Interview.status == Status(status)


def _talk_time(interview: Interview, now: datetime) -> timedelta:
    if interview.talking_since is None:
        return interview.talk_time
    return interview.talk_time + max(now - interview.talking_since, timedelta())


async def _join_counts(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    rows = await session.execute(
        select(JoinRequest.interview_id, func.count().label("joins"))
        .where(JoinRequest.interview_id.in_(ids))
        .group_by(JoinRequest.interview_id)
    )
    return {row.interview_id: row.joins for row in rows}


def _cursor(last: Interview) -> str:
    """Return where the next page begins: opaque to callers, as its form may change."""
    micros = (last.created_at - EPOCH) // timedelta(microseconds=1)
    raw = f"{micros}.{last.id.hex}"
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        micros, _, key = raw.partition(".")
        return EPOCH + timedelta(microseconds=int(micros)), uuid.UUID(hex=key)
    except (ValueError, OverflowError) as error:
        raise CursorInvalid from error

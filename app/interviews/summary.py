"""Counting: how many interviews have which status, in all and by job post."""

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import CursorInvalid
from app.interviews.find import Filters, conditions, has_status
from app.interviews.shown import ShownStatus
from app.models import Interview


@dataclass(frozen=True, slots=True)
class Counts:
    """How many interviews, and how many of each status as it is shown, zeros included."""

    total: int
    by_status: Mapping[ShownStatus, int]


@dataclass(frozen=True, slots=True)
class JobPostPage:
    """Counts by job post, in the order of their ids."""

    counts: Sequence[tuple[str, Counts]]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose interviews are counted, which of them, and as of when."""

    organization_id: uuid.UUID
    filters: Filters
    now: datetime

    def conditions(self) -> list[ColumnElement[bool]]:
        return [Interview.organization_id == self.organization_id, *conditions(self.filters, now=self.now)]


async def summarize(session: AsyncSession, asked: Asked) -> Counts:
    """Count the organization's interviews that fit."""
    query = select(*_counts(asked.now)).where(*asked.conditions())
    return _of((await session.execute(query)).mappings().one())


async def summarize_job_posts(session: AsyncSession, asked: Asked, *, cursor: str | None, limit: int) -> JobPostPage:
    """Count the organization's interviews that fit, by job post. Raises CursorInvalid."""
    query = select(Interview.job_post_id, *_counts(asked.now)).where(*asked.conditions())
    if cursor:
        query = query.where(Interview.job_post_id > _parse_cursor(cursor))
    query = query.group_by(Interview.job_post_id).order_by(Interview.job_post_id).limit(limit + 1)
    rows = (await session.execute(query)).mappings().all()
    counts = [(row["job_post_id"], _of(row)) for row in rows[:limit]]
    return JobPostPage(counts, _cursor(counts[-1][0]) if len(rows) > limit else None)


def _counts(now: datetime) -> list[ColumnElement[int]]:
    each = [func.count().filter(has_status(status, now=now)).label(status) for status in ShownStatus]
    return [func.count().label("total"), *each]


def _of(row: RowMapping) -> Counts:
    return Counts(row["total"], {status: row[status] for status in ShownStatus})


def _cursor(job_post_id: str) -> str:
    return base64.urlsafe_b64encode(job_post_id.encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> str:
    try:
        last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError as error:
        raise CursorInvalid from error
    if not last.isprintable():  # Postgres takes no NUL
        raise CursorInvalid
    return last

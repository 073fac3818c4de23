"""Counting: how many interviews have which status, in all and by job post."""

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    Subquery,
    func,
    literal,
    literal_column,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import CursorInvalid
from app.interviews.search import Filters, conditions, has_status
from app.lifecycle import PublicStatus
from app.models import CountChange, Interview, InterviewCount

# What was appended meanwhile is left for the next time. Only whoever folds updates a count: no interview waits for it.
FOLD = text(
    """
    WITH folded AS (DELETE FROM count_changes RETURNING organization_id, job_post_id, status, number)
    INSERT INTO interview_counts AS kept (organization_id, job_post_id, status, number)
    SELECT organization_id, job_post_id, status, sum(number) FROM folded GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (organization_id, job_post_id, status) DO UPDATE SET number = kept.number + excluded.number
    """
)

COMPARE = text(
    """
    WITH kept AS (
        SELECT job_post_id, status, sum(number) AS number FROM (
            SELECT job_post_id, status, number FROM interview_counts WHERE organization_id = :organization_id
            UNION ALL SELECT job_post_id, status, number FROM count_changes WHERE organization_id = :organization_id
        ) AS each GROUP BY 1, 2
    ), there AS (
        SELECT job_post_id, status, count(*) AS number FROM interviews WHERE organization_id = :organization_id
        GROUP BY 1, 2
    )
    SELECT job_post_id, status, coalesce(kept.number, 0)::bigint, coalesce(there.number, 0)
    FROM kept FULL JOIN there USING (job_post_id, status)
    WHERE coalesce(kept.number, 0) <> coalesce(there.number, 0) ORDER BY 1, 2
    """
)


@dataclass(frozen=True, slots=True)
class Miscount:
    """A kept count that is not how many interviews there are of a job post in a stored status."""

    organization_id: uuid.UUID
    job_post_id: str
    status: str
    kept: int
    there: int

    def __str__(self) -> str:
        of = f"of job post {self.job_post_id!r} of organization {self.organization_id}"
        return f"counted {self.kept} {self.status} {of}, there are {self.there}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many interviews, and how many of each status as it is shown, zeros included."""

    total: int
    by_status: Mapping[PublicStatus, int]


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
    """Count the organization's interviews that fit: by the kept counts, or one by one those that changed lately."""
    if asked.filters.updated_since:
        query = select(*_counts(asked.now)).where(*asked.conditions())
        return _of((await session.execute(query)).mappings().one())
    kept = _kept(asked)
    rows = await session.execute(select(kept.c.status, _sum(kept)).group_by(kept.c.status))
    return _of_kept({row.status: row.number for row in rows})


async def summarize_job_posts(session: AsyncSession, asked: Asked, *, cursor: str | None, limit: int) -> JobPostPage:
    """Count the organization's interviews that fit, by job post. Raises CursorInvalid."""
    after = _parse_cursor(cursor) if cursor else None
    read = _changed_by_post if asked.filters.updated_since else _kept_by_post
    counts = await read(session, asked, after, limit + 1)
    return JobPostPage(counts[:limit], _cursor(counts[limit - 1][0]) if len(counts) > limit else None)


async def compact_counts(session: AsyncSession) -> None:
    """Add up the changes of the counts, so that few are left to be read. Several processes may do it at once."""
    await session.execute(FOLD)


async def miscounts(session: AsyncSession, organization_id: uuid.UUID) -> list[Miscount]:
    """Count the organization's interviews one by one, and return which of the kept counts are others."""
    rows = await session.execute(COMPARE, {"organization_id": organization_id})
    return [Miscount(organization_id, *row) for row in rows]


async def _changed_by_post(
    session: AsyncSession, asked: Asked, after: str | None, limit: int
) -> list[tuple[str, Counts]]:
    query = select(Interview.job_post_id, *_counts(asked.now)).where(*asked.conditions())
    if after is not None:
        query = query.where(Interview.job_post_id > after)
    query = query.group_by(Interview.job_post_id).order_by(Interview.job_post_id).limit(limit)
    rows = (await session.execute(query)).mappings().all()
    return [(row["job_post_id"], _of(row)) for row in rows]


async def _kept_by_post(session: AsyncSession, asked: Asked, after: str | None, limit: int) -> list[tuple[str, Counts]]:
    """Return the first job posts behind one that have interviews: some were counted, and have none any more."""
    found: list[tuple[str, Counts]] = []
    is_more = True
    while is_more and len(found) < limit:
        names = await _next_posts(session, asked, after, limit)
        if names:
            found += await _kept_between(session, asked, after, names[-1])
            after = names[-1]
        is_more = len(names) == limit
    return found[:limit]


async def _next_posts(session: AsyncSession, asked: Asked, after: str | None, limit: int) -> Sequence[str]:
    """Return the ids of the next job posts that are or were counted. No more of the index is read than has them."""
    parts = [
        select(of.job_post_id).where(*_of_posts(asked, of, after)).distinct().order_by(of.job_post_id).limit(limit)
        for of in (InterviewCount, CountChange)
    ]
    either = union(*parts).subquery()
    return (await session.scalars(select(either.c.job_post_id).order_by(either.c.job_post_id).limit(limit))).all()


async def _kept_between(session: AsyncSession, asked: Asked, after: str | None, last: str) -> list[tuple[str, Counts]]:
    """Return the job posts behind one, up to another."""
    kept = _kept(asked, after=after, last=last)
    summed = select(kept.c.job_post_id, kept.c.status, _sum(kept)).group_by(kept.c.job_post_id, kept.c.status)
    there = summed.having(func.sum(kept.c.number) > 0).subquery()
    numbers = func.jsonb_object_agg(there.c.status, there.c.number)
    query = select(there.c.job_post_id, numbers.label("numbers")).group_by(there.c.job_post_id)
    rows = await session.execute(query.order_by(there.c.job_post_id))
    return [(row.job_post_id, _of_kept(row.numbers)) for row in rows]


def _of_posts(
    asked: Asked, of: type[InterviewCount | CountChange | Interview], after: str | None, last: str | None = None
) -> list[ColumnElement[bool]]:
    """Return the conditions for what is of the organization and of the job posts that are asked for."""
    found = [of.organization_id == asked.organization_id]
    if asked.filters.job_post_id is not None:
        found.append(of.job_post_id == asked.filters.job_post_id)
    if after is not None:
        found.append(of.job_post_id > after)
    if last is not None:
        found.append(of.job_post_id <= last)
    return found


def _kept(asked: Asked, *, after: str | None = None, last: str | None = None) -> Subquery:
    """Return the kept counts by job post and stored status, to be summed; what is SCHEDULED is READY_TO_JOIN, too."""
    to_come = select(
        Interview.job_post_id, literal(PublicStatus.SCHEDULED.value).label("status"), func.count().label("number")
    )
    # not as a parameter: only so the planner knows that the index of what is to come has it
    is_ready = Interview.status == literal_column("'READY_TO_JOIN'")
    to_come = to_come.where(is_ready, Interview.opens_at > asked.now).group_by(Interview.job_post_id)
    counts = select(InterviewCount.job_post_id, InterviewCount.status, InterviewCount.number)
    changes = select(CountChange.job_post_id, CountChange.status, CountChange.number)
    parts = ((counts, InterviewCount), (changes, CountChange), (to_come, Interview))
    return union_all(*(query.where(*_of_posts(asked, of, after, last)) for query, of in parts)).subquery()


def _sum(kept: Subquery) -> ColumnElement[int]:
    return func.sum(kept.c.number).cast(BigInteger).label("number")


def _of_kept(numbers: Mapping[str, int]) -> Counts:
    by_status = {status: numbers.get(status, 0) for status in PublicStatus}
    by_status[PublicStatus.READY_TO_JOIN] -= by_status[PublicStatus.SCHEDULED]
    return Counts(sum(by_status.values()), by_status)


def _counts(now: datetime) -> list[ColumnElement[int]]:
    each = [func.count().filter(has_status(status, now=now)).label(status) for status in PublicStatus]
    return [func.count().label("total"), *each]


def _of(row: RowMapping) -> Counts:
    return Counts(row["total"], {status: row[status] for status in PublicStatus})


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

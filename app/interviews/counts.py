"""Count interviews by status, in all and by job post, from counts that triggers keep."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Subquery,
    Text,
    func,
    literal,
    literal_column,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.pagination import Page, decode_text, encode_text
from app.lifecycle import PublicStatus
from app.models import CountChange, Interview, InterviewCount

# Only this updates counts, so that no transaction waits for one. Changes appended meanwhile stay for the next run.
COMPACT = text("""
    WITH compacted AS (DELETE FROM count_changes RETURNING organization_id, job_post_id, status, number)
    INSERT INTO interview_counts AS kept (organization_id, job_post_id, status, number)
    SELECT organization_id, job_post_id, status, sum(number) FROM compacted GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (organization_id, job_post_id, status) DO UPDATE SET number = kept.number + excluded.number
""")

COMPARE = text("""
    WITH kept AS (
        SELECT job_post_id, status, sum(number) AS number FROM (
            SELECT job_post_id, status, number FROM interview_counts WHERE organization_id = :organization_id
            UNION ALL SELECT job_post_id, status, number FROM count_changes WHERE organization_id = :organization_id
        ) AS parts GROUP BY 1, 2
    ), actual AS (
        SELECT job_post_id, status, count(*) AS number FROM interviews WHERE organization_id = :organization_id
        GROUP BY 1, 2
    )
    SELECT job_post_id, status, coalesce(kept.number, 0)::bigint, coalesce(actual.number, 0)
    FROM kept FULL JOIN actual USING (job_post_id, status)
    WHERE coalesce(kept.number, 0) <> coalesce(actual.number, 0) ORDER BY 1, 2
""")

Table = InterviewCount | CountChange | Interview


@dataclass(frozen=True, slots=True)
class Miscount:
    """A kept count that differs from the number of interviews of a job post in a stored status."""

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
    """The number of interviews, in all and by public status, zeros included."""

    total: int
    by_status: Mapping[PublicStatus, int]


JobPostCounts = tuple[str, Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountQuery:
    """Which interviews to count, and as of when. With updated_since they are counted row by row."""

    organization_id: uuid.UUID
    job_post_id: str | None = None
    updated_since: datetime | None = None
    now: datetime


async def summarize(session: AsyncSession, query: CountQuery) -> Counts:
    numbers = _numbers(query)
    rows = await session.execute(select(numbers.c.status, _sum(numbers)).group_by(numbers.c.status))
    return _public_counts({row.status: row.number for row in rows})


async def summarize_job_posts(
    session: AsyncSession, query: CountQuery, *, cursor: str | None, limit: int
) -> Page[JobPostCounts]:
    """Count matching interviews by job post, in the order of ids. Raises CursorInvalid."""
    after = decode_text(cursor) if cursor else None
    counts: list[JobPostCounts] = []
    is_more = True
    while is_more and len(counts) <= limit:  # some job posts have counts, but no interviews any more
        ids = await _next_posts(session, query, after, limit + 1)
        if ids:
            counts += await _counts_between(session, query, after, ids[-1])
            after = ids[-1]
        is_more = len(ids) > limit
    return Page.of(counts, limit, lambda last: encode_text(last[0]))


async def compact_counts(session: AsyncSession) -> None:
    """Add the changes to the counts, so that few are left to read. Safe to run in several processes."""
    await session.execute(COMPACT)


async def find_miscounts(session: AsyncSession, organization_id: uuid.UUID) -> list[Miscount]:
    """Count the organization's interviews row by row; return the kept counts that differ."""
    rows = await session.execute(COMPARE, {"organization_id": organization_id})
    return [Miscount(organization_id, *row) for row in rows]


async def _next_posts(session: AsyncSession, query: CountQuery, after: str | None, limit: int) -> Sequence[str]:
    """Return the ids of the next job posts with counts, reading no more of the index than their rows."""
    parts = [
        select(of.job_post_id).where(*_of_posts(query, of, after)).distinct().order_by(of.job_post_id).limit(limit)
        for of in ((Interview,) if query.updated_since else (InterviewCount, CountChange))
    ]
    either = union(*parts).subquery()
    return (await session.scalars(select(either.c.job_post_id).order_by(either.c.job_post_id).limit(limit))).all()


async def _counts_between(
    session: AsyncSession, query: CountQuery, after: str | None, last: str
) -> list[JobPostCounts]:
    """Return the job posts after one, up to and including `last`."""
    numbers = _numbers(query, after=after, last=last)
    group = numbers.c.job_post_id, numbers.c.status
    summed = select(*group, _sum(numbers)).group_by(*group)
    positive = summed.having(func.sum(numbers.c.number) > 0).subquery()
    by_status = func.jsonb_object_agg(positive.c.status, positive.c.number).label("by_status")
    statement = select(positive.c.job_post_id, by_status).group_by(positive.c.job_post_id)
    rows = await session.execute(statement.order_by(positive.c.job_post_id))
    return [(row.job_post_id, _public_counts(row.by_status)) for row in rows]


def _of_posts(
    query: CountQuery, of: type[Table], after: str | None, last: str | None = None
) -> list[ColumnElement[bool]]:
    """Return the conditions for a table's rows of the organization and the job posts."""
    clauses = [of.organization_id == query.organization_id]
    if query.job_post_id is not None:
        clauses.append(of.job_post_id == query.job_post_id)
    if after is not None:
        clauses.append(of.job_post_id > after)
    if last is not None:
        clauses.append(of.job_post_id <= last)
    if query.updated_since:
        clauses.append(Interview.updated_at >= query.updated_since)
    return clauses


def _numbers(query: CountQuery, *, after: str | None = None, last: str | None = None) -> Subquery:
    """Select numbers to sum by job post and status; SCHEDULED interviews count as READY_TO_JOIN, too."""
    scheduled = select(
        Interview.job_post_id, literal(PublicStatus.SCHEDULED.value).label("status"), func.count().label("number")
    )
    # A literal, because with a parameter the planner could not use the partial index ix_interviews_to_come.
    is_ready = Interview.status == literal_column("'READY_TO_JOIN'")
    of_interviews = _of_posts(query, Interview, after, last)
    scheduled = scheduled.where(is_ready, Interview.opens_at > query.now, *of_interviews)
    parts = [scheduled.group_by(Interview.job_post_id)]
    if query.updated_since:
        rows = select(Interview.job_post_id, Interview.status.cast(Text), func.count()).where(*of_interviews)
        parts.append(rows.group_by(Interview.job_post_id, Interview.status))
    else:
        for of in (InterviewCount, CountChange):
            parts.append(select(of.job_post_id, of.status, of.number).where(*_of_posts(query, of, after, last)))
    return union_all(*parts).subquery()


def _sum(numbers: Subquery) -> ColumnElement[int]:
    return func.sum(numbers.c.number).cast(BigInteger).label("number")


def _public_counts(numbers: Mapping[str, int]) -> Counts:
    by_status = {status: numbers.get(status, 0) for status in PublicStatus}
    by_status[PublicStatus.READY_TO_JOIN] -= by_status[PublicStatus.SCHEDULED]
    return Counts(sum(by_status.values()), by_status)

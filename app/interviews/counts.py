"""Count interviews by status, in all and by job post, from counts that triggers keep."""

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


@dataclass(frozen=True, slots=True)
class JobPostPage:
    """Counts by job post id, in order."""

    counts: Sequence[tuple[str, Counts]]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountQuery:
    """Which of an organization's interviews to count, and as of when."""

    organization_id: uuid.UUID
    filters: Filters
    now: datetime

    def conditions(self) -> list[ColumnElement[bool]]:
        return [Interview.organization_id == self.organization_id, *conditions(self.filters, now=self.now)]


async def summarize(session: AsyncSession, query: CountQuery) -> Counts:
    """Count matching interviews: by the kept counts, or with updated_since row by row."""
    if query.filters.updated_since:
        statement = select(*_count_columns(query.now)).where(*query.conditions())
        return _counts_of_row((await session.execute(statement)).mappings().one())
    kept = _kept(query)
    rows = await session.execute(select(kept.c.status, _sum(kept)).group_by(kept.c.status))
    return _public_counts({row.status: row.number for row in rows})


async def summarize_job_posts(
    session: AsyncSession, query: CountQuery, *, cursor: str | None, limit: int
) -> JobPostPage:
    """Count matching interviews by job post. Raises CursorInvalid."""
    after = _parse_cursor(cursor) if cursor else None
    read = _changed_by_post if query.filters.updated_since else _kept_by_post
    counts = await read(session, query, after, limit + 1)
    return JobPostPage(counts[:limit], _cursor(counts[limit - 1][0]) if len(counts) > limit else None)


async def compact_counts(session: AsyncSession) -> None:
    """Add the changes to the counts, so that few are left to read. Safe to run in several processes."""
    await session.execute(COMPACT)


async def find_miscounts(session: AsyncSession, organization_id: uuid.UUID) -> list[Miscount]:
    """Count the organization's interviews row by row; return the kept counts that differ."""
    rows = await session.execute(COMPARE, {"organization_id": organization_id})
    return [Miscount(organization_id, *row) for row in rows]


async def _changed_by_post(
    session: AsyncSession, query: CountQuery, after: str | None, limit: int
) -> list[tuple[str, Counts]]:
    statement = select(Interview.job_post_id, *_count_columns(query.now)).where(*query.conditions())
    if after is not None:
        statement = statement.where(Interview.job_post_id > after)
    statement = statement.group_by(Interview.job_post_id).order_by(Interview.job_post_id).limit(limit)
    rows = (await session.execute(statement)).mappings().all()
    return [(row["job_post_id"], _counts_of_row(row)) for row in rows]


async def _kept_by_post(
    session: AsyncSession, query: CountQuery, after: str | None, limit: int
) -> list[tuple[str, Counts]]:
    """Return the next job posts with interviews. Some have counts, but no interviews any more."""
    counts: list[tuple[str, Counts]] = []
    is_more = True
    while is_more and len(counts) < limit:
        ids = await _next_posts(session, query, after, limit)
        if ids:
            counts += await _kept_between(session, query, after, ids[-1])
            after = ids[-1]
        is_more = len(ids) == limit
    return counts[:limit]


async def _next_posts(session: AsyncSession, query: CountQuery, after: str | None, limit: int) -> Sequence[str]:
    """Return the ids of the next job posts with counts, reading no more of the index than their rows."""
    parts = [
        select(of.job_post_id).where(*_of_posts(query, of, after)).distinct().order_by(of.job_post_id).limit(limit)
        for of in (InterviewCount, CountChange)
    ]
    either = union(*parts).subquery()
    return (await session.scalars(select(either.c.job_post_id).order_by(either.c.job_post_id).limit(limit))).all()


async def _kept_between(
    session: AsyncSession, query: CountQuery, after: str | None, last: str
) -> list[tuple[str, Counts]]:
    """Return the job posts after one, up to and including `last`."""
    kept = _kept(query, after=after, last=last)
    summed = select(kept.c.job_post_id, kept.c.status, _sum(kept)).group_by(kept.c.job_post_id, kept.c.status)
    positive = summed.having(func.sum(kept.c.number) > 0).subquery()
    numbers = func.jsonb_object_agg(positive.c.status, positive.c.number)
    statement = select(positive.c.job_post_id, numbers.label("numbers")).group_by(positive.c.job_post_id)
    rows = await session.execute(statement.order_by(positive.c.job_post_id))
    return [(row.job_post_id, _public_counts(row.numbers)) for row in rows]


def _of_posts(
    query: CountQuery, of: type[InterviewCount | CountChange | Interview], after: str | None, last: str | None = None
) -> list[ColumnElement[bool]]:
    """Return the conditions for a table's rows of the organization and the job posts."""
    clauses = [of.organization_id == query.organization_id]
    if query.filters.job_post_id is not None:
        clauses.append(of.job_post_id == query.filters.job_post_id)
    if after is not None:
        clauses.append(of.job_post_id > after)
    if last is not None:
        clauses.append(of.job_post_id <= last)
    return clauses


def _kept(query: CountQuery, *, after: str | None = None, last: str | None = None) -> Subquery:
    """Select numbers to sum by job post and status; SCHEDULED interviews count as READY_TO_JOIN, too."""
    scheduled = select(
        Interview.job_post_id, literal(PublicStatus.SCHEDULED.value).label("status"), func.count().label("number")
    )
    # A literal, because with a parameter the planner could not use the partial index ix_interviews_to_come.
    is_ready = Interview.status == literal_column("'READY_TO_JOIN'")
    scheduled = scheduled.where(is_ready, Interview.opens_at > query.now).group_by(Interview.job_post_id)
    counts = select(InterviewCount.job_post_id, InterviewCount.status, InterviewCount.number)
    changes = select(CountChange.job_post_id, CountChange.status, CountChange.number)
    parts = ((counts, InterviewCount), (changes, CountChange), (scheduled, Interview))
    return union_all(*(part.where(*_of_posts(query, of, after, last)) for part, of in parts)).subquery()


def _sum(kept: Subquery) -> ColumnElement[int]:
    return func.sum(kept.c.number).cast(BigInteger).label("number")


def _public_counts(numbers: Mapping[str, int]) -> Counts:
    by_status = {status: numbers.get(status, 0) for status in PublicStatus}
    by_status[PublicStatus.READY_TO_JOIN] -= by_status[PublicStatus.SCHEDULED]
    return Counts(sum(by_status.values()), by_status)


def _count_columns(now: datetime) -> list[ColumnElement[int]]:
    by_status = (func.count().filter(has_status(status, now=now)).label(status) for status in PublicStatus)
    return [func.count().label("total"), *by_status]


def _counts_of_row(row: RowMapping) -> Counts:
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

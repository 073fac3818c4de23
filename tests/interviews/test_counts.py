"""GET /interviews/summary: counts by public status, and by job post."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_sessionmaker
from app.core.pagination import Page
from app.interviews.counts import CountQuery, Counts, JobPostCounts, compact_counts, summarize, summarize_job_posts
from app.lifecycle import PublicStatus
from app.models import Interview, Organization
from tests.api.test_lists import add, listed
from tests.conftest import AUTHORIZED
from tests.query_plans import NOW, fill, organization_of, plan_of

Sessions = async_sessionmaker[AsyncSession]

NONE = dict.fromkeys(PublicStatus, 0)


async def get(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get("/interviews/summary", headers=AUTHORIZED, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_nobody(client: httpx.AsyncClient) -> None:
    empty = {"total": 0, "byStatus": NONE, "byJobPost": None, "nextCursor": None}
    assert await get(client) == empty
    assert await get(client, by="jobPostId") == empty | {"byJobPost": []}


async def test_counts_are_of_public_statuses(client: httpx.AsyncClient, sessions: Sessions) -> None:
    later = {"opens_at": datetime.now(UTC) + timedelta(hours=1)}
    stored = [status for status in PublicStatus if status is not PublicStatus.SCHEDULED]
    rows = [{"status": status} for place, status in enumerate(stored) for _ in range(place + 1)]
    await add(sessions, later, later, {**later, "status": "CANCELLED"}, *rows)
    found = await get(client)
    assert found["total"] == len(rows) + 3 == sum(found["byStatus"].values())
    assert list(found["byStatus"]) == [*PublicStatus]
    for status, count in found["byStatus"].items():
        assert count == len(await listed(client, status=status, limit=200)), status


async def test_by_job_post(client: httpx.AsyncClient, sessions: Sessions) -> None:
    now = datetime.now(UTC)
    await add(
        sessions,
        {"job_post_id": "b", "status": "FAILED"},
        {"job_post_id": "b", "opens_at": now + timedelta(hours=1)},
        {"job_post_id": "a", "updated_at": now - timedelta(hours=1)},
    )
    post_a = {"jobPostId": "a", "total": 1, "byStatus": NONE | {"READY_TO_JOIN": 1}}
    post_b = {"jobPostId": "b", "total": 2, "byStatus": NONE | {"FAILED": 1, "SCHEDULED": 1}}
    found = await get(client, by="jobPostId")
    assert found["byJobPost"] == [post_a, post_b]
    assert (found["total"], found["nextCursor"]) == (3, None)
    assert (await get(client, by="jobPostId", jobPostId="b"))["byJobPost"] == [post_b]
    assert (await get(client, jobPostId="b"))["byStatus"] == post_b["byStatus"]
    assert (await get(client, jobPostId="c"))["total"] == 0
    since = await get(client, by="jobPostId", updatedSince=(now - timedelta(minutes=1)).isoformat())
    assert (since["total"], since["byJobPost"]) == (2, [post_b])


async def test_pages_of_job_posts(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await add(sessions, *({"job_post_id": f"j{n % 7}"} for n in range(21)))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await get(client, by="jobPostId", limit=3, **cursor)
        assert page["total"] == 21  # of all, whatever the page
        seen += [each["jobPostId"] for each in page["byJobPost"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen == [f"j{n}" for n in range(7)]


async def test_job_posts_without_interviews_are_skipped(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await add(sessions, *({"job_post_id": f"j{n}"} for n in range(9)))
    async with sessions.begin() as session:
        await compact_counts(session)
    await add(sessions, {"job_post_id": "j35"})  # not compacted yet
    async with sessions.begin() as session:
        await session.execute(delete(Interview).where(Interview.job_post_id.in_(["j1", "j2", "j3", "j8"])))
    first = await get(client, by="jobPostId", limit=3)
    assert [each["jobPostId"] for each in first["byJobPost"]] == ["j0", "j35", "j4"]
    second = await get(client, by="jobPostId", limit=3, cursor=first["nextCursor"])
    assert [each["jobPostId"] for each in second["byJobPost"]] == ["j5", "j6", "j7"]
    assert second["nextCursor"] is None


async def test_another_organizations_interviews_do_not_count(client: httpx.AsyncClient, sessions: Sessions) -> None:
    async with sessions.begin() as session:
        other = Organization(name="other", company_name="x", instructions_template="x", max_duration=60)
        session.add(other)
        await session.flush()
        other_id = other.id
    await add(sessions, {"organization_id": other_id}, {})
    found = await get(client, by="jobPostId")
    assert (found["total"], found["byJobPost"][0]["total"]) == (1, 1)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"by": "status"}, "payload_invalid"),
        ({"limit": "0"}, "payload_invalid"),
        ({"limit": "1001"}, "payload_invalid"),
        ({"status": "FAILED"}, "payload_invalid"),
        ({"updatedSince": "x"}, "payload_invalid"),
        *(({"by": "jobPostId", "cursor": each}, "cursor_invalid") for each in ("x", "é", "AAAA", "_w")),
        ({"by": "jobPostId", "cursor": base64.urlsafe_b64encode("é".encode()).decode()}, "cursor_invalid"),
    ],
)
async def test_refused(client: httpx.AsyncClient, query: dict[str, str], code: str) -> None:
    answer = await client.get("/interviews/summary", headers=AUTHORIZED, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_counts_use_an_index(own_engine: AsyncEngine) -> None:
    """Only counts with updatedSince read interviews row by row."""
    await fill(own_engine, 20_000)
    organization_id = await organization_of(own_engine)
    job_post = CountQuery(organization_id=organization_id, job_post_id="j7", now=NOW)
    lately = CountQuery(organization_id=organization_id, updated_since=NOW - timedelta(seconds=9), now=NOW)
    everything = CountQuery(organization_id=organization_id, now=NOW)

    async def one(session: AsyncSession) -> Counts:
        return await summarize(session, job_post)

    async def recent(session: AsyncSession) -> Counts:
        return await summarize(session, lately)

    async def all_of_them(session: AsyncSession) -> Counts:
        return await summarize(session, everything)

    async def posts(session: AsyncSession) -> Page[JobPostCounts]:
        return await summarize_job_posts(session, everything, cursor=None, limit=10)

    assert "ix_interviews_organization_id_updated_at_id" in (await plan_of(own_engine, recent))[0]
    for work, total in ((one, 40), (all_of_them, 20_000)):
        plan, counts = await plan_of(own_engine, work)
        assert "ix_interviews_to_come" in plan
        assert "Seq Scan on interviews" not in plan
        assert counts.total == total
    plan, page = await plan_of(own_engine, posts)
    assert "ix_interviews_to_come" in plan
    assert "Seq Scan on interviews" not in plan
    assert len(page.items) == 10


async def count(sessions: Sessions, updated_since: datetime | None) -> tuple[Counts, Page[JobPostCounts]]:
    async with sessions() as session:
        organization_id = (await session.scalars(select(Organization.id))).one()
        asked = CountQuery(organization_id=organization_id, updated_since=updated_since, now=datetime.now(UTC))
        return await summarize(session, asked), await summarize_job_posts(session, asked, cursor=None, limit=1000)


async def test_kept_counts_equal_those_of_the_rows(own_engine: AsyncEngine) -> None:
    """With concurrent inserts, updates, deletes, rollbacks and compactions."""
    sessions = create_sessionmaker(own_engine)
    await add(sessions, *({"job_post_id": f"j{n % 5}"} for n in range(100)))

    async def change(*, commit: bool, **values: str) -> None:
        some = select(Interview.id).order_by(func.random()).limit(10).with_for_update(skip_locked=True)
        async with sessions() as session:
            await session.execute(update(Interview).where(Interview.id.in_(some)).values(values))
            await (session.commit() if commit else session.rollback())

    async def move(status: str) -> None:
        for n in range(10):
            await change(commit=True, status=status)
            await change(commit=True, job_post_id=f"j{n}")
            await change(commit=False, status=status)

    async def fold() -> None:
        for _ in range(20):
            async with sessions.begin() as session:
                await compact_counts(session)

    await asyncio.gather(move("COMPLETED"), move("FAILED"), move("READY_TO_JOIN"), fold(), fold())
    async with sessions.begin() as session:
        await session.execute(delete(Interview).where(Interview.job_post_id == "j1"))
    for _ in range(2):
        kept, kept_by_post = await count(sessions, None)
        assert (kept, kept_by_post) == await count(sessions, datetime(1970, 1, 1, tzinfo=UTC))
        assert "j1" not in dict(kept_by_post.items)
        await fold()

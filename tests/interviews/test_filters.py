"""GET /interviews: filters, orders, cursors, the index of each, and pages while rows change."""

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_sessionmaker
from app.core.pagination import Page
from app.core.settings import Settings
from app.interviews.queries import View
from app.interviews.search import Filters, Sort, find_interviews
from app.lifecycle import PublicStatus
from app.main import create_app
from app.models import Interview
from tests.api.test_lists import add, get, listed
from tests.conftest import AUTHORIZED, client_of
from tests.query_plans import NOW, fill, organization_of, plan_of

Sessions = async_sessionmaker[AsyncSession]

HOUR = timedelta(hours=1)


async def test_by_job_post_application_and_candidate(client: httpx.AsyncClient, sessions: Sessions) -> None:
    rows = [
        {"job_post_id": job, "application_id": application, "candidate_id": candidate}
        for job, application, candidate in itertools.product("jJ", "ab", "cd")
    ]
    ids = await add(sessions, *rows)
    assert await listed(client, jobPostId="j") == set(ids[:4])
    assert await listed(client, jobPostId="J", applicationId="a") == set(ids[4:6])
    assert await listed(client, jobPostId="J", applicationId="a", candidateId="d") == {ids[5]}
    assert await listed(client, candidateId="%") == set()


async def test_by_instants(client: httpx.AsyncClient, sessions: Sessions) -> None:
    now = datetime.now(UTC)
    never, early, exact, late = await add(
        sessions,
        {"updated_at": now - HOUR},
        {"opens_at": now - HOUR, "updated_at": now - timedelta(microseconds=1)},
        {"opens_at": now, "updated_at": now},
        {"opens_at": now + HOUR, "updated_at": now + HOUR},
    )
    at = now.isoformat()
    assert await listed(client, opensBefore=at) == {early}
    assert await listed(client, opensAfter=at) == {exact, late}
    assert await listed(client, opensAfter=at, opensBefore=(now + HOUR).isoformat()) == {exact}
    assert await listed(client, updatedSince=at) == {exact, late}
    assert await listed(client, updatedSince="1970-01-01T00:00:00Z") == {never, early, exact, late}


async def test_updated_since_includes_the_updated_at_that_the_api_returned(
    client: httpx.AsyncClient, sessions: Sessions
) -> None:
    """The API shows milliseconds, the database has microseconds."""
    ids = await add(sessions, {"updated_at": datetime(2026, 3, 1, 9, 0, 0, 123_999, tzinfo=UTC)})
    (row,) = (await get(client))["data"]
    assert await listed(client, updatedSince=row["updatedAt"]) == set(ids)


async def test_orders(client: httpx.AsyncClient, sessions: Sessions) -> None:
    now = datetime.now(UTC)
    ids = await add(
        sessions,
        *({"created_at": now + created * HOUR, "updated_at": now - created * HOUR} for created in (2, 1, 3)),
    )
    by_age = [ids[1], ids[0], ids[2]]
    for sort, expected in {
        "createdAt": by_age,
        "-createdAt": by_age[::-1],
        "updatedAt": by_age[::-1],
        "-updatedAt": by_age,
    }.items():
        assert [row["interviewId"] for row in (await get(client, sort=sort))["data"]] == expected
        assert [row["interviewId"] async for row in walk(client, sort=sort, limit=1)] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"sort": "status"}, "sort"),
        ({"jobPostId": ""}, "jobPostId"),
        ({"candidateId": "a b"}, "candidateId"),
        ({"applicationId": "x" * 129}, "applicationId"),
        ({"jobPostID": "j"}, "jobPostID"),  # a typo must not find all
        ({"job_post_id": "j"}, "job_post_id"),
        *(({name: "soon"}, name) for name in ("updatedSince", "opensBefore", "opensAfter")),
        *(({"updatedSince": at}, "updatedSince") for at in ("2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00")),
        ({"opensBefore": "9999-12-31T23:59:59-12:00"}, "opensBefore"),
    ],
)
async def test_refused(client: httpx.AsyncClient, query: dict[str, str], field: str) -> None:
    answer = await client.get("/interviews", headers=AUTHORIZED, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "payload_invalid")
    assert {fault["field"] for fault in answer.json()["errors"]} == {field}


async def test_a_cursor_belongs_to_its_sort_and_filters(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await add(sessions, *({} for _ in range(3)))
    given: dict[str, Any] = {
        "status": ["READY_TO_JOIN", "FAILED"],
        "updatedSince": "2026-01-01T00:00:00Z",
        "q": "candidate",
    }
    cursor = (await get(client, limit=1, **given))["nextCursor"]
    others: list[dict[str, Any]] = [
        {"sort": "createdAt"},
        {"sort": "-updatedAt"},
        {"status": ["READY_TO_JOIN"]},
        {"status": []},
        {"updatedSince": "2026-01-02T00:00:00Z"},
        {"q": ""},
        {"q": "developer"},
        *({name: "x"} for name in ("jobPostId", "applicationId", "candidateId")),
        *({name: "2026-01-01T00:00:00Z"} for name in ("opensBefore", "opensAfter")),
    ]
    for other in others:
        answer = await client.get("/interviews", headers=AUTHORIZED, params={**given, **other, "cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid"), other
        assert "another sort or to other filters" in answer.json()["detail"]
    same: dict[str, Any] = {
        "status": ["FAILED", "READY_TO_JOIN", "FAILED"],
        "updatedSince": "2026-01-01T03:00:00+03:00",
        "q": "  CANDIDATE ",
    }
    assert len((await get(client, cursor=cursor, **same))["data"]) == 2


@pytest.mark.parametrize("sort", Sort)
async def test_all_pages_while_rows_change(client: httpx.AsyncClient, sessions: Sessions, sort: Sort) -> None:
    """No existing row is missed or repeated, except that by updatedAt changed rows come again."""
    instant = datetime.now(UTC) - HOUR
    times = [{"created_at": instant, "updated_at": instant}] * 20  # as after an import
    ids = await add(sessions, *times, *({"created_at": instant + n * timedelta(seconds=1)} for n in range(10)))
    seen: list[str] = []
    changed: list[str] = []
    async for row in walk(client, sort=sort, limit=4):
        seen.append(row["interviewId"])
        if len(seen) % 4 == 0 and len(changed) < 6:
            changed.append(seen[-2])
            await touch(sessions, seen[-2])
            await add(sessions, {"created_at": datetime.now(UTC) + HOUR, "updated_at": datetime.now(UTC) + HOUR})
    there_all_along = [each for each in seen if each in ids]
    if sort is Sort.UPDATED_FIRST:
        assert set(there_all_along) == set(ids)
        assert sorted(there_all_along) == sorted(ids + changed)
    else:
        assert sorted(there_all_along) == sorted(ids)


async def test_updated_at_never_decreases(sessions: Sessions) -> None:
    """Of two concurrent requests, the first may get the lock last."""
    now = datetime.now(UTC)
    (key,) = await add(sessions, {"updated_at": now})
    for given, kept in ((now - HOUR, now), (now + HOUR, now + HOUR)):
        async with sessions.begin() as session:
            interview = (await session.scalars(select(Interview).where(Interview.id == key))).one()
            interview.updated_at = given
        async with sessions() as session:
            assert await session.scalar(select(Interview.updated_at).where(Interview.id == key)) == kept


async def nobody() -> None:
    """Do nothing."""


async def walk(
    client: httpx.AsyncClient, *, beside: Callable[[], Awaitable[None]] = nobody, **query: Any
) -> AsyncIterator[dict[str, Any]]:
    """Yield each row of each page; `beside` runs concurrently with each request."""
    cursor: dict[str, str] = {}
    while True:
        page, _ = await asyncio.gather(get(client, **query, **cursor), beside())
        for row in page["data"]:
            yield row
        if page["nextCursor"] is None:
            return
        cursor = {"cursor": page["nextCursor"]}


async def touch(sessions: Sessions, key: str) -> None:
    async with sessions.begin() as session:
        interview = (await session.scalars(select(Interview).where(Interview.id == key))).one()
        interview.updated_at = datetime.now(UTC)


CREATED = "ix_interviews_organization_id_created_at_id"
UPDATED = "ix_interviews_organization_id_updated_at_id"


STATUS = "ix_interviews_organization_id_status_created_at_id"
JOB_POST = "ix_interviews_organization_id_job_post_id_created_at_id"
OPENS = "ix_interviews_organization_id_opens_at"
BOTH = "ix_interviews_created_and_opens"
CASES: list[tuple[Filters, Sort, str]] = [
    *((Filters(), sort, CREATED) for sort in (Sort.NEWEST, Sort.OLDEST)),
    *((Filters(), sort, UPDATED) for sort in (Sort.UPDATED_FIRST, Sort.UPDATED_LAST)),
    (Filters(job_post_id="j7"), Sort.NEWEST, JOB_POST),
    (Filters(job_post_id="j7"), Sort.UPDATED_FIRST, JOB_POST),
    (Filters(application_id="a7"), Sort.NEWEST, "ix_interviews_organization_id_application_id"),
    (Filters(candidate_id="c7"), Sort.UPDATED_LAST, "ix_interviews_organization_id_candidate_id"),
    (Filters(updated_since=NOW - timedelta(minutes=2)), Sort.UPDATED_FIRST, UPDATED),
    (Filters(updated_since=NOW - timedelta(seconds=9)), Sort.NEWEST, UPDATED),
    (Filters(opens_after=NOW + timedelta(minutes=9990)), Sort.OLDEST, OPENS),
    (Filters(opens_before=NOW - timedelta(minutes=9990)), Sort.NEWEST, OPENS),
    # a quarter of them, which lie at the far end: the newest opens first
    (Filters(opens_before=NOW - timedelta(minutes=5000)), Sort.OLDEST, BOTH),
    (Filters(opens_after=NOW + timedelta(minutes=5000)), Sort.NEWEST, BOTH),
    *(
        (Filters(statuses=frozenset({status})), Sort.NEWEST, STATUS)
        for status in (PublicStatus.FAILED, PublicStatus.SCHEDULED)
    ),
    # by a walk through what has the status, though its words are common
    (Filters(statuses=frozenset({PublicStatus.FAILED}), q="title"), Sort.NEWEST, STATUS),
]


async def test_each_filter_and_order_uses_its_index(own_engine: AsyncEngine) -> None:
    """On 20,000 rows, the first page and a further one; the planner is free to choose."""
    await fill(own_engine, 20_000)
    organization_id = await organization_of(own_engine)
    for filters, sort, index in CASES:
        cursor = None
        for _ in range(2):

            async def find(session: AsyncSession) -> Page[View]:
                return await find_interviews(
                    session,
                    organization_id=organization_id,
                    filters=filters,  # noqa: B023 - called at once
                    sort=sort,  # noqa: B023
                    cursor=cursor,  # noqa: B023
                    limit=3,
                    now=NOW,
                )

            plan, page = await plan_of(own_engine, find)
            assert index in plan, (filters, sort, plan)
            assert "Seq Scan" not in plan, (filters, sort, plan)
            if index in (CREATED, UPDATED) and filters == Filters():
                assert "Sort" not in plan  # a page costs the same however many interviews there are
            cursor = page.next_cursor


MICROSECONDS_APART = text(
    "UPDATE interviews SET created_at = CAST(:now AS timestamptz) - right(candidate_id, -1)::int / 3 * interval '1us'"
)


@pytest.mark.parametrize("sort", [Sort.OLDEST, Sort.NEWEST])
async def test_a_range_of_opens_at_in_the_order_of_creation(own_engine: AsyncEngine, sort: Sort) -> None:
    """By the index of both instants, which orders by distance; three rows share each microsecond."""
    await fill(own_engine, 20_000)
    async with own_engine.begin() as connection:
        await connection.execute(MICROSECONDS_APART, {"now": NOW})
    organization_id = await organization_of(own_engine)
    at = NOW + timedelta(minutes=8000)
    found: list[Interview] = []
    cursor: str | None = None
    while not found or cursor:

        async def find(session: AsyncSession) -> Page[View]:
            return await find_interviews(
                session,
                organization_id=organization_id,
                filters=Filters(opens_after=at),
                sort=sort,
                cursor=cursor,  # noqa: B023 - called at once
                limit=101,
                now=NOW,
            )

        plan, page = await plan_of(own_engine, find)
        if not found:
            assert f"Index Scan using {BOTH}" in plan
        found += [view.interview for view in page.items]
        cursor = page.next_cursor
    assert len(found) == 1001
    assert all(each.opens_at and each.opens_at >= at for each in found)
    places = [(each.created_at, each.id) for each in found]
    assert places == sorted(places, reverse=sort.is_descending)


async def insert_and_update(sessions: Sessions) -> None:
    """Schedule five interviews and change some twenty."""
    await add(sessions, *({"created_at": datetime.now(UTC), "updated_at": datetime.now(UTC)},) * 5)
    some = select(Interview.id).where(Interview.id > uuid.uuid4()).order_by(Interview.id).limit(20)  # ids are random
    async with sessions.begin() as session:
        await session.execute(
            update(Interview)
            .where(Interview.id.in_(some))
            .values(status="COMPLETED", updated_at=datetime.now(UTC), sequence=Interview.sequence + 1)
        )


LARGE = [pytest.param(sort, 100_000, marks=pytest.mark.slow) for sort in (Sort.NEWEST, Sort.UPDATED_FIRST)]


@pytest.mark.parametrize(("sort", "count"), [*((sort, 2_000) for sort in Sort), *LARGE])
async def test_all_pages_while_others_insert_and_update(
    own_engine: AsyncEngine, settings: Settings, sort: Sort, count: int
) -> None:
    """Every existing row comes, once if by createdAt or unchanged. Descending by updatedAt may miss changed rows."""
    await fill(own_engine, count)
    sessions = create_sessionmaker(own_engine)
    async with sessions() as session:
        there = {str(key) for key in await session.scalars(select(Interview.id))}
    seen: Counter[str] = Counter()
    async with client_of(create_app(settings, sessions)) as client:
        async for row in walk(client, beside=partial(insert_and_update, sessions), sort=sort, limit=200):
            seen[row["interviewId"]] += 1
    async with sessions() as session:
        changed = {str(key) for key in await session.scalars(select(Interview.id).where(Interview.sequence > 0))}
    assert there & changed
    repeated = {key for key, times in seen.items() if times > 1}
    if sort is Sort.UPDATED_LAST:
        assert there - changed <= seen.keys()
    else:
        assert there <= seen.keys()
    if sort is Sort.UPDATED_FIRST:
        assert repeated <= changed
    else:
        assert not repeated

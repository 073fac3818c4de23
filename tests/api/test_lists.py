"""GET /interviews: pages, statuses, and what a cursor promises. Filters, search and indexes: test_find, test_search."""

import base64
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import hash_key
from app.lifecycle import PublicStatus
from app.models import ApiKey, Interview, Organization
from tests.conftest import AUTHORIZED

Sessions = async_sessionmaker[AsyncSession]


async def the_organization(session: AsyncSession) -> uuid.UUID:
    return (await session.scalars(select(Organization.id).where(Organization.name == "default"))).one()


async def add(sessions: Sessions, *rows: dict[str, Any]) -> list[str]:
    """Insert interviews with these differences from the default; return their ids."""
    ids = [uuid.uuid4() for _ in rows]
    async with sessions.begin() as session:
        common = {
            "organization_id": await the_organization(session),
            "candidate_id": "c",
            "application_id": "a",
            "job_post_id": "j",
            "participant_name": "Candidate",
            "phone_number": "966509876543",
            "job_title": "Developer",
            "company_name": "ACME",
            "instructions": "Be kind.",
            "max_duration": 1800,
        }
        await session.execute(
            insert(Interview), [common | row | {"id": key} for key, row in zip(ids, rows, strict=True)]
        )
    return [str(key) for key in ids]


async def get(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get("/interviews", headers=AUTHORIZED, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def listed(client: httpx.AsyncClient, **query: Any) -> set[str]:
    return {row["interviewId"] for row in (await get(client, **query))["data"]}


async def test_no_match_is_an_empty_page(client: httpx.AsyncClient) -> None:
    assert await get(client) == {"data": [], "nextCursor": None}


async def test_newest_first(client: httpx.AsyncClient, sessions: Sessions) -> None:
    now = datetime.now(UTC)
    ids = await add(sessions, *({"created_at": now + timedelta(seconds=age)} for age in (3, 1, 2)))
    assert [row["interviewId"] for row in (await get(client))["data"]] == [ids[0], ids[2], ids[1]]


async def test_an_interview_is_scheduled_until_it_opens(client: httpx.AsyncClient, sessions: Sessions) -> None:
    later, earlier = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    not_open, opened, always, over = await add(
        sessions, {"opens_at": later}, {"opens_at": earlier}, {}, {"opens_at": later, "status": "CANCELLED"}
    )
    assert await listed(client, status="SCHEDULED") == {not_open}
    assert await listed(client, status="READY_TO_JOIN") == {opened, always}
    assert await listed(client, status="CANCELLED") == {over}
    shown = {row["interviewId"]: row["status"] for row in (await get(client))["data"]}
    assert shown[not_open] == "SCHEDULED"
    assert shown[opened] == shown[always] == "READY_TO_JOIN"
    assert (await client.get(f"/interviews/{not_open}", headers=AUTHORIZED)).json()["status"] == "SCHEDULED"


async def test_several_statuses_mean_any_of_them(client: httpx.AsyncClient, sessions: Sessions) -> None:
    later = {"opens_at": datetime.now(UTC) + timedelta(hours=1)}
    statuses = [status for status in PublicStatus if status is not PublicStatus.SCHEDULED]
    ids: dict[PublicStatus, str] = dict(
        zip(statuses, await add(sessions, *({"status": status} for status in statuses)), strict=True)
    )
    ids[PublicStatus.SCHEDULED] = (await add(sessions, later))[0]
    assert await listed(client) == set(ids.values())
    for status in PublicStatus:
        assert await listed(client, status=status) == {ids[status]}
    for wanted in (["SCHEDULED", "FAILED"], ["NO_SHOW", "NO_SHOW"], ["READY_TO_JOIN", "SCHEDULED", "COMPLETED"]):
        assert await listed(client, status=wanted) == {ids[PublicStatus(status)] for status in wanted}


@pytest.mark.parametrize("status", [(), ("READY_TO_JOIN",), ("READY_TO_JOIN", "SCHEDULED")])
async def test_a_walk_misses_and_repeats_nothing_while_others_insert(
    client: httpx.AsyncClient, sessions: Sessions, status: Sequence[str]
) -> None:
    """Many share one created_at, as after an import in one transaction."""
    instant = datetime.now(UTC) - timedelta(hours=1)
    ids = await add(sessions, *({"created_at": instant} for _ in range(23)))
    ids += await add(sessions, *({"created_at": instant - timedelta(microseconds=each)} for each in range(8)))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(len(ids)):
        page = await get(client, status=status, limit=4, **cursor)
        seen += [row["interviewId"] for row in page["data"]]
        await add(sessions, {}, {"created_at": instant + timedelta(microseconds=1)})  # newer than the walk's beginning
        if page["nextCursor"] is None:
            break
        assert len(page["data"]) == 4
        cursor = {"cursor": page["nextCursor"]}
    assert sorted(seen) == sorted(ids)


async def test_a_last_page_that_is_full_has_no_cursor(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await add(sessions, *({} for _ in range(4)))
    assert (await get(client, limit=4))["nextCursor"] is None
    first = await get(client, limit=2)
    assert (await get(client, limit=2, cursor=first["nextCursor"]))["nextCursor"] is None


async def test_an_invalid_cursor(client: httpx.AsyncClient) -> None:
    key = uuid.uuid4().hex
    contents = ("", ".", "5", f".{key}", f"x.{key}", "5.xyz", f"{10**30}.{key}", f"{-(10**30)}.{key}", f"1e3.{key}")
    forged = [base64.urlsafe_b64encode(content.encode()).decode().rstrip("=") for content in contents if content]
    for cursor in (*forged, "!", "x", "é", "\0", "%00", "AAAA" * 50):
        answer = await client.get("/interviews", headers=AUTHORIZED, params={"cursor": cursor})
        assert answer.status_code == 422, cursor
        assert answer.json()["code"] == "cursor_invalid"
        assert "nextCursor" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(({"limit": limit}, "limit") for limit in ("0", "201", "-1", "x", "1.5", str(10**30))),
        ({"status": "DONE"}, "status"),
        ({"status": ["FAILED", "failed"]}, "status"),
        ({"cursor": "x" * 201}, "cursor"),
    ],
)
async def test_refused(client: httpx.AsyncClient, query: dict[str, Any], field: str) -> None:
    answer = await client.get("/interviews", headers=AUTHORIZED, params=query)
    assert answer.status_code == 422
    assert answer.json()["code"] == "payload_invalid"
    assert [fault["field"].split(".")[0] for fault in answer.json()["errors"]] == [field]


async def test_limit(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await add(sessions, *({} for _ in range(201)))
    assert len((await get(client))["data"]) == 50
    assert len((await get(client, limit=1))["data"]) == 1
    assert len((await get(client, limit=200))["data"]) == 200


async def test_another_organizations_interviews_are_not_there(client: httpx.AsyncClient, sessions: Sessions) -> None:
    (ours,) = await add(sessions, {})
    async with sessions.begin() as session:
        other = Organization(name="other", company_name="x", instructions_template="x", max_duration=60)
        session.add(other)
        await session.flush()
        scopes = ["interviews:read", "interviews:write", "agent"]
        session.add(ApiKey(organization_id=other.id, name="other", key_hash=hash_key("ik_other"), scopes=scopes))
        other_id = other.id
    await add(sessions, {"organization_id": other_id})
    assert await listed(client) == {ours}
    theirs = {"Authorization": "Bearer ik_other"}
    page = (await client.get("/interviews", headers=theirs)).json()["data"]
    assert ours not in {row["interviewId"] for row in page}
    assert len(page) == 1
    for method, path in (("GET", ""), ("GET", "/timeline"), ("POST", "/cancel"), ("POST", "/reopen")):
        foreign = await client.request(method, f"/interviews/{ours}{path}", headers=theirs)
        unknown = await client.request(method, f"/interviews/{uuid.uuid4()}{path}", headers=theirs)
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json() | {"requestId": ""} == unknown.json() | {"requestId": ""}
        assert foreign.headers.keys() == unknown.headers.keys()


async def test_an_invalid_id(client: httpx.AsyncClient) -> None:
    for odd in ("1", "null", "%00", "c6aec8f5-592b-4b90-b7fd-a6a6404b31fg", "x" * 5000):
        answer = await client.get(f"/interviews/{odd}", headers=AUTHORIZED)
        assert (answer.status_code, answer.json()["code"]) == (404, "interview_not_found")

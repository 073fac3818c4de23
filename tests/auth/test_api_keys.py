"""API keys and their scopes; keys are never stored."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import BOOTSTRAP_KEY_NAME, Scope, create_key, ensure_bootstrap_key, hash_key, revoke_key
from app.core.errors import BootstrapKeyTaken
from app.interviews.schedule import ensure_default_organization
from app.models import ApiKey
from tests.calls import NEW
from tests.conftest import API_KEY, AUTHORIZED

Sessions = async_sessionmaker[AsyncSession]
SOME_ID = "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"
STREAM = "/interviews/stream"
CALLS: dict[tuple[str, str], Scope | None] = {  # None: one of several
    ("POST", "/interviews"): Scope.WRITE,
    ("POST", "/interviews/batch"): Scope.WRITE,
    ("PATCH", f"/interviews/{SOME_ID}"): Scope.WRITE,
    ("GET", f"/interviews/{SOME_ID}/context"): Scope.AGENT,
    ("POST", f"/interviews/{SOME_ID}/cancel"): Scope.WRITE,
    ("POST", f"/interviews/{SOME_ID}/reopen"): Scope.WRITE,
    ("POST", f"/interviews/{SOME_ID}/invite"): Scope.WRITE,
    ("DELETE", f"/interviews/{SOME_ID}/invite"): Scope.WRITE,
    ("DELETE", f"/interviews/{SOME_ID}/personal-data"): Scope.ADMIN,
    ("GET", f"/interviews/{SOME_ID}/personal-data"): Scope.ADMIN,
    ("GET", "/personal-data"): Scope.ADMIN,
    ("GET", "/organization"): Scope.ADMIN,
    ("PATCH", "/organization"): Scope.ADMIN,
    ("GET", "/interviews"): Scope.READ,
    ("GET", "/interviews/summary"): Scope.READ,
    ("GET", f"/interviews/{SOME_ID}"): Scope.READ,
    ("GET", f"/interviews/{SOME_ID}/timeline"): Scope.READ,
    ("GET", STREAM): Scope.READ,
    ("POST", f"/interviews/{SOME_ID}/complete"): Scope.AGENT,
    ("POST", f"/interviews/{SOME_ID}/transcript"): Scope.AGENT,
    ("GET", f"/interviews/{SOME_ID}/transcript"): None,
    ("PUT", f"/interviews/{SOME_ID}/checkpoint"): Scope.AGENT,
    ("GET", f"/interviews/{SOME_ID}/checkpoint"): Scope.AGENT,
    ("GET", "/webhook-endpoints"): Scope.READ,
    ("POST", "/webhook-endpoints"): Scope.ADMIN,
    ("GET", f"/webhook-endpoints/{SOME_ID}"): Scope.READ,
    ("PATCH", f"/webhook-endpoints/{SOME_ID}"): Scope.ADMIN,
    ("DELETE", f"/webhook-endpoints/{SOME_ID}"): Scope.ADMIN,
    ("POST", f"/webhook-endpoints/{SOME_ID}/rotate-secret"): Scope.ADMIN,
    ("POST", f"/webhook-endpoints/{SOME_ID}/test"): Scope.ADMIN,
    ("GET", f"/webhook-endpoints/{SOME_ID}/deliveries"): Scope.READ,
    ("POST", f"/webhook-endpoints/{SOME_ID}/deliveries/{SOME_ID}/replay"): Scope.ADMIN,
    ("POST", f"/webhook-endpoints/{SOME_ID}/replay"): Scope.ADMIN,
}
BODIES = {
    "/interviews": NEW,
    f"/interviews/{SOME_ID}/complete": {"roomName": f"interview-{SOME_ID}", "outcome": "completed"},
}


async def call(client: httpx.AsyncClient, method: str, path: str, authorization: str | None) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    body = BODIES.get(path) if method == "POST" else None
    return await client.request(method, path, headers=headers, json=body)


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_without_a_valid_key(client: httpx.AsyncClient, method: str, path: str) -> None:
    wrong = (
        None, "", "Bearer", "Bearer ", "Bearer ik_wrong", f"Bearer {API_KEY[:-1]}", f"Bearer {API_KEY}x",
        f"Bearer {API_KEY.upper()}", f"Basic {API_KEY}", f"Token {API_KEY}", API_KEY, "Bearer \xe9",
        f"Bearer {hash_key(API_KEY).hex()}",
    )  # fmt: skip
    for authorization in wrong:
        given = None if authorization is None else authorization.encode("latin-1")
        body = BODIES.get(path) if method == "POST" else None
        headers = {} if given is None else {b"Authorization": given}
        answer = await client.request(method, path, headers=headers, json=body)
        assert answer.status_code == 401, authorization
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "ik_wrong" not in answer.text


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_is_case_insensitive(client: httpx.AsyncClient, scheme: str) -> None:
    assert (await call(client, "GET", "/interviews", f"{scheme} {API_KEY}")).status_code == 200


@pytest.mark.parametrize("missing", list(Scope))
async def test_each_call_needs_its_scope(client: httpx.AsyncClient, sessions: Sessions, missing: Scope) -> None:
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        scopes = [scope.value for scope in Scope if scope is not missing]
        session.add(ApiKey(organization_id=organization_id, name="x", key_hash=hash_key("ik_less"), scopes=scopes))
    for (method, path), needed in CALLS.items():
        if path == STREAM and needed is not missing:
            continue  # the stream never ends
        answer = await call(client, method, path, "Bearer ik_less")
        if needed is not missing:
            assert answer.status_code not in (401, 403), path
            continue
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
        assert f"'{missing}'" in answer.json()["detail"]


async def test_a_key_without_scopes_may_do_nothing(client: httpx.AsyncClient, sessions: Sessions) -> None:
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        session.add(ApiKey(organization_id=organization_id, name="x", key_hash=hash_key("ik_none"), scopes=[]))
    for method, path in CALLS:
        assert (await call(client, method, path, "Bearer ik_none")).status_code == 403


async def test_every_call_with_an_api_key_is_listed_here(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    guarded = {
        (method.upper(), re.sub(r"\{\w+_id\}", SOME_ID, path))
        for path, operations in paths.items()
        for method, operation in operations.items()
        if {"apiKey": []} in operation.get("security", [])
    }
    assert guarded == CALLS.keys()


async def test_only_a_hash_is_stored(client: httpx.AsyncClient, sessions: Sessions) -> None:
    """Every row of every table, as text and as bytes."""
    assert (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).status_code == 201
    async with sessions() as session:
        tables = (
            await session.scalars(text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"))
        ).all()
        assert "api_keys" in tables
        for table in tables:
            rows = (await session.scalars(text(f"SELECT t::text FROM {table} t"))).all()  # noqa: S608 - from pg_tables
            stored = "\n".join(rows)
            assert API_KEY not in stored
            assert API_KEY.encode().hex() not in stored
        (key,) = (await session.scalars(select(ApiKey))).all()
        assert key.key_hash == hash_key(API_KEY)
        assert len(key.key_hash) == 32


async def test_another_bootstrap_key_replaces_the_one_before(client: httpx.AsyncClient, sessions: Sessions) -> None:
    for key in ("ik_new", "ik_new"):
        async with sessions.begin() as session:
            organization_id = await ensure_default_organization(session)
            await ensure_bootstrap_key(session, organization_id=organization_id, key=key)
    assert (await call(client, "GET", "/interviews", f"Bearer {API_KEY}")).status_code == 401
    assert (await call(client, "GET", "/interviews", "Bearer ik_new")).status_code == 200
    async with sessions() as session:
        named = select(func.count()).select_from(ApiKey).where(ApiKey.name == BOOTSTRAP_KEY_NAME)
        assert await session.scalar(named) == 1


async def test_a_revoked_key_is_refused_at_once(client: httpx.AsyncClient, sessions: Sessions) -> None:
    """On every replica: keys are not cached."""
    now = datetime.now(UTC)
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        made = await create_key(session, organization_id=organization_id, name="k", scopes=[Scope.READ], now=now)
    assert made is not None
    row, key = made
    assert re.fullmatch(rf"ik_{row.short_id}_[0-9a-f]{{40}}", key)
    assert (await call(client, "GET", "/interviews", f"Bearer {key}")).status_code == 200
    for which in (row.short_id, "k"):  # again is fine, and the first instant stays
        async with sessions.begin() as session:
            revoked = await revoke_key(session, which=which, now=now)
            assert revoked is not None
            assert revoked.revoked_at == row.created_at
        now += timedelta(hours=1)
        answer = await call(client, "GET", "/interviews", f"Bearer {key}")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    async with sessions.begin() as session:
        for which in ("", "x", row.id.hex, row.short_id.upper() + "0", "%", key):
            assert await revoke_key(session, which=which, now=now) is None


async def test_a_revoked_bootstrap_key_is_not_revived_by_a_restart(
    client: httpx.AsyncClient, sessions: Sessions
) -> None:
    async with sessions.begin() as session:
        assert await revoke_key(session, which=BOOTSTRAP_KEY_NAME, now=datetime.now(UTC))
    for key, status in ((API_KEY, 401), ("ik_new", 200)):
        async with sessions.begin() as session:
            organization_id = await ensure_default_organization(session)
            await ensure_bootstrap_key(session, organization_id=organization_id, key=key)
        assert (await call(client, "GET", "/interviews", f"Bearer {key}")).status_code == status


async def test_a_name_is_taken_once(sessions: Sessions) -> None:
    now = datetime.now(UTC)
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        for is_made in (True, False):
            made = await create_key(session, organization_id=organization_id, name="k", scopes=[Scope.READ], now=now)
            assert bool(made) == is_made


async def test_the_bootstrap_key_can_not_be_an_existing_key(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        now = datetime.now(UTC)
        made = await create_key(session, organization_id=organization_id, name="platform", scopes=[Scope.READ], now=now)
        assert made
        with pytest.raises(BootstrapKeyTaken, match="'platform'"):
            await ensure_bootstrap_key(session, organization_id=organization_id, key=made[1])

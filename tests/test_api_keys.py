"""Who is let in: API keys, their scopes, and that the database never sees a key."""

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth import BOOTSTRAP_KEY_NAME, Scope, ensure_bootstrap_key, hash_key
from app.interviews.schedule import ensure_default_organization
from app.models import ApiKey
from tests.conftest import API_KEY, AUTHORIZED
from tests.test_races import NEW

Sessions = async_sessionmaker[AsyncSession]
SOME_ID = "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"
CALLS = {
    ("POST", "/interviews"): Scope.WRITE,
    ("POST", f"/interviews/{SOME_ID}/cancel"): Scope.WRITE,
    ("POST", f"/interviews/{SOME_ID}/reopen"): Scope.WRITE,
    ("POST", f"/interviews/{SOME_ID}/invite"): Scope.WRITE,
    ("DELETE", f"/interviews/{SOME_ID}/invite"): Scope.WRITE,
    ("GET", "/organization"): Scope.ADMIN,
    ("PATCH", "/organization"): Scope.ADMIN,
    ("GET", "/interviews"): Scope.READ,
    ("GET", f"/interviews/{SOME_ID}"): Scope.READ,
    ("GET", f"/interviews/{SOME_ID}/timeline"): Scope.READ,
    ("POST", f"/interviews/{SOME_ID}/complete"): Scope.AGENT,
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


async def test_every_recruiters_and_agents_call_is_tested_here(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    guarded = {
        (method.upper(), path.replace("{interview_id}", SOME_ID))
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation.get("security")
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

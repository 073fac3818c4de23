"""Every operation of the OpenAPI document, called by another organization, without a key, and with a lesser key.

The tests read the document, so new operations are covered automatically.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, hash_key
from app.core.database import create_sessionmaker
from app.main import create_app
from app.models import ApiKey
from tests.attacks.conftest import another, api_key, everything
from tests.attacks.document import (
    BY_SEVERAL_SCOPES,
    BY_WHAT_IT_SHOWS,
    ENDLESS,
    MADE,
    Ids,
    Operation,
    Owner,
    body_of,
    new_interview,
    operations,
    reached,
)
from tests.conftest import API_KEY, client_of, make_settings

Sessions = async_sessionmaker[AsyncSession]

ALL = operations()
GUARDED = [each for each in ALL if each.is_guarded]
WITH_IDS = [each for each in GUARDED if each.ids]
READING = [each for each in GUARDED if each.method == "GET" and str(each) not in ENDLESS]


def response_of(answer: httpx.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return status, headers and body of a refusal without the request id."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, headers, {**answer.json(), "requestId": None}


def assert_success(operation: Operation, answer: httpx.Response) -> None:
    assert answer.is_success, (
        f"{operation.method} {operation.path} answered its owner {answer.status_code}: {answer.text}\n"
        "Add to tests/attacks/document.py what has to happen before (BEFORE) or values of the body (SAID)."
    )


def test_each_call_with_an_id_authenticates() -> None:
    open_ones = {str(each) for each in ALL if each.ids and not each.is_guarded}
    assert open_ones == BY_WHAT_IT_SHOWS
    assert len(WITH_IDS) > 10


@pytest.mark.parametrize("operation", WITH_IDS, ids=str)
async def test_another_organizations_id_is_answered_like_an_unknown_one(
    operation: Operation, owner: Owner, other: Owner, sessions: Sessions
) -> None:
    """The response has identical headers, and nothing changes; the same call with an own id succeeds."""
    own, foreign = await owner.new(operation), await other.new(operation)
    before = await everything(sessions)
    for place in range(len(operation.ids)):
        kept: Ids = {name: own[name] for name in operation.ids[:place]}
        rest = operation.ids[place:]
        refused = await owner.ask(operation, kept | {name: foreign[name] for name in rest})
        never = await owner.ask(operation, kept | {name: str(uuid.uuid4()) for name in rest})
        assert response_of(refused) == response_of(never)
        assert refused.status_code == 404
    assert await everything(sessions) == before
    assert_success(operation, await owner.ask(operation, own))
    assert_success(operation, await other.ask(operation, foreign))


@pytest.mark.parametrize("operation", GUARDED, ids=str)
async def test_a_call_requires_one_scope(operation: Operation, owner: Owner, sessions: Sessions) -> None:
    ids = await owner.new(operation)
    async with sessions.begin() as session:
        organization_id = (await session.scalars(select(ApiKey.organization_id))).one()
        session.add(api_key("ik_none", organization_id))
        session.add_all(api_key(f"ik_{scope}", organization_id, scope) for scope in Scope)
    before = await everything(sessions)
    refused = await Owner(owner.client, "ik_none", "").ask(operation, ids)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
    accepted = {scope for scope in Scope if f"'{scope}'" in refused.json()["detail"]}
    assert accepted if str(operation) in BY_SEVERAL_SCOPES else len(accepted) == 1
    for wrong in set(Scope) - accepted:
        assert response_of(await Owner(owner.client, f"ik_{wrong}", "").ask(operation, ids)) == response_of(refused)
    assert await everything(sessions) == before
    if str(operation) not in ENDLESS:
        for scope in accepted:
            assert_success(
                operation, await Owner(owner.client, f"ik_{scope}", "").ask(operation, await owner.new(operation))
            )


@pytest.mark.parametrize("operation", GUARDED, ids=str)
async def test_a_key_is_accepted_in_the_authorization_header_only(
    operation: Operation, owner: Owner, sessions: Sessions
) -> None:
    """Only in the Authorization header: proxies log URLs."""
    ids = await owner.new(operation)
    joined = await owner.client.post(f"/interviews/{await new_interview(owner, ids)}/join")
    invite = await owner.made(f"/interviews/{await new_interview(owner, ids)}/invite")
    before = await everything(sessions)
    given: list[dict[str, Any]] = [{}]
    given += [{"params": {name: owner.key}} for name in ("key", "apiKey", "api_key", "access_token", "token", "code")]
    given += [{"params": {name: f"Bearer {owner.key}"}} for name in ("authorization", "Authorization")]
    given += [{"headers": {name: owner.key}} for name in ("X-Api-Key", "Cookie", "Proxy-Authorization", "apiKey")]
    given += [{"headers": {"Cookie": f"apiKey={owner.key}; Authorization=Bearer {owner.key}"}}]
    given += [
        {"headers": {"Authorization": f"{scheme}{owner.key}"}} for scheme in ("", "Basic ", "Token ", "Bearer  x")
    ]
    tokens = (joined.json()["participantToken"], invite["invite"], hash_key(owner.key).hex(), "*", "%", "' OR '1'='1")
    given += [{"headers": {"Authorization": f"Bearer {each}"}} for each in tokens]
    for each in given:
        answer = await call_without_key(owner, operation, ids, **each)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), each
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await everything(sessions) == before


async def call_without_key(owner: Owner, operation: Operation, ids: Ids, **given: Any) -> httpx.Response:
    """Make the call without the API key."""
    path = operation.path.format_map(ids)
    return await owner.client.request(operation.method, path, json=body_of(operation, ids), **given)


@pytest.mark.parametrize("operation", GUARDED, ids=str)
async def test_each_call_refuses_a_revoked_key(operation: Operation, owner: Owner, sessions: Sessions) -> None:
    ids = await owner.new(operation)
    never = await Owner(owner.client, "ik_never", "").ask(operation, ids)
    async with sessions.begin() as session:
        await session.execute(update(ApiKey).values(revoked_at=datetime.now(UTC)))
    before = await everything(sessions)
    assert response_of(await owner.ask(operation, ids)) == response_of(never)
    assert never.status_code == 401
    assert await everything(sessions) == before


@pytest.mark.parametrize("operation", READING, ids=str)
async def test_reads_return_only_the_own_organizations_data(operation: Operation, owner: Owner, other: Owner) -> None:
    """In every list, with every documented parameter value, and in every count."""
    mine, theirs = await fill(owner), await fill(other)
    for reader, own, foreign in ((owner, mine, theirs), (other, theirs, mine)):
        ids = {name: own[name] for name in operation.ids}
        for params in parameter_sets(operation):
            answer = await reader.ask(operation, ids, params=params)
            assert_success(operation, answer)
            for theirs_alone in foreign.values():
                assert theirs_alone not in answer.text
            assert answer.json().get("total", 1) == 1
            if "data" in answer.json() and not operation.ids and "status" not in params:
                assert any(each in answer.text for each in own.values())


async def fill(owner: Owner) -> Ids:
    """Create one of each resource; return the ids, and a text that occurs in each."""
    ids: Ids = {}
    for name, make in MADE.items():
        ids[name] = await make(owner, ids)
    await reached(owner, ids)
    return ids | {"text": f"of {owner.name}", "id": f"of-{owner.name}"}


def parameter_sets(operation: Operation) -> list[dict[str, str]]:
    """Return sets of parameters: none, each value of each enumeration, and `since` long ago."""
    found: list[dict[str, str]] = [{}]
    for each in operation.parameters("query"):
        schema = operation.schema(each["schema"])
        values = [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]
        if schema.get("format") == "date-time" and each["name"].endswith("Since"):
            values.append("2001-01-01T00:00:00Z")
        found += [{each["name"]: value} for value in values]
    return found


@pytest.mark.parametrize("operation", [each for each in WITH_IDS if each.method != "GET"], ids=str)
async def test_a_call_does_not_wait_for_another_organizations_row(
    operation: Operation, own_engine: AsyncEngine
) -> None:
    """The response time reveals nothing, and a caller cannot lock another organization's row."""
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(make_settings(), sessions)) as client:
        owner, other = Owner(client, API_KEY, "ours"), await another(client, sessions)
        ids = await other.new(operation)
        async with own_engine.begin() as busy:
            for table in ("interviews", "webhook_endpoints", "deliveries"):
                await busy.execute(text(f"SELECT FROM {table} FOR UPDATE"))
            refused = await owner.ask(operation, ids)
        assert refused.status_code == 404, (
            refused.text
        )  # a call that waits gets a 503, because the lock is never released

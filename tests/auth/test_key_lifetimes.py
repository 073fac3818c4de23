"""Until when a key is valid, with two replicas on one database; and when it was last used."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, create_key, revoke_key
from app.auth.last_use import LastUsed
from app.core.database import create_engine, create_sessionmaker
from app.interviews.schedule import ensure_organization
from app.main import create_app
from app.models import ApiKey
from tests.calls import NEW
from tests.conftest import AUTHORIZED, client_of, make_settings

Sessions = async_sessionmaker[AsyncSession]
Replicas = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture
async def other_engine(own_engine: AsyncEngine, own_database: str) -> AsyncIterator[AsyncEngine]:
    """Yield the other replica's engine."""
    engine = create_engine(own_database)
    yield engine
    await engine.dispose()


@pytest.fixture
async def replicas(own_engine: AsyncEngine, other_engine: AsyncEngine) -> AsyncIterator[Replicas]:
    one, other = (create_app(make_settings(), create_sessionmaker(each)) for each in (own_engine, other_engine))
    async with client_of(one) as first, client_of(other) as second:
        yield first, second


@pytest.fixture
def committed(own_engine: AsyncEngine) -> Sessions:
    return create_sessionmaker(own_engine)


async def new_key(
    committed: Sessions, *, organization: str = "default", lifetime: timedelta | None = None
) -> tuple[ApiKey, str]:
    now = datetime.now(UTC)
    async with committed.begin() as session:
        organization_id = await ensure_organization(session, name=organization)
        made = await create_key(
            session,
            organization_id=organization_id,
            name=uuid.uuid4().hex,
            scopes=list(Scope),
            now=now,
            expires_at=now + lifetime if lifetime else None,
        )
    assert made
    return made


async def answers_of(replicas: Replicas, key: str) -> list[int]:
    headers = {"Authorization": f"Bearer {key}"}
    return [(await each.get("/interviews", headers=headers)).status_code for each in replicas]


async def last_used(committed: Sessions, row: ApiKey) -> datetime | None:
    async with committed() as session:
        return (await session.get_one(ApiKey, row.id)).last_used_at


async def test_an_expired_key_is_refused_as_one_that_never_was(replicas: Replicas, committed: Sessions) -> None:
    _, key = await new_key(committed, lifetime=timedelta(microseconds=1))
    answers = []
    for given in (key, "ik_000000000000_" + "0" * 40):
        answer = await replicas[0].get("/interviews", headers={"Authorization": f"Bearer {given}"})
        body = answer.json()
        headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
        answers.append((answer.status_code, headers, {**body, "requestId": len(body["requestId"])}))
    assert answers[0] == answers[1]
    assert (answers[0][0], answers[0][2]["code"]) == (401, "unauthorized")


async def test_a_key_ends_at_once_on_all_replicas(replicas: Replicas, committed: Sessions) -> None:
    lasting, key = await new_key(committed)
    expiring, soon = await new_key(committed, lifetime=timedelta(hours=1))
    for each in (key, soon):
        assert await answers_of(replicas, each) == [200, 200]
    async with committed.begin() as session:
        await revoke_key(session, which=lasting.short_id, now=datetime.now(UTC))
        await session.execute(text("UPDATE api_keys SET expires_at = now() WHERE id = :id"), {"id": expiring.id})
    for each in (key, soon):
        assert await answers_of(replicas, each) == [401, 401]


async def test_another_organizations_interview_is_not_even_waited_for(replicas: Replicas, committed: Sessions) -> None:
    """It is locked: a stranger who had to wait would learn that it exists."""
    _, stranger = await new_key(committed, organization="ACME")
    made = (await replicas[0].post("/interviews", headers=AUTHORIZED, json=NEW)).json()["interviewId"]
    headers = {"Authorization": f"Bearer {stranger}"}
    async with committed.begin() as session:
        await session.execute(text("SELECT FROM interviews FOR UPDATE"))
        for call, body in (("cancel", None), ("reopen", {}), ("invite", None)):
            answers = []
            for interview_id in (made, uuid.uuid4()):
                answer = await replicas[1].post(f"/interviews/{interview_id}/{call}", headers=headers, json=body)
                answers.append((answer.status_code, {**answer.json(), "requestId": ""}))
            assert answers[0] == answers[1], call
            assert answers[0][0] == 404


async def test_last_use_is_written_once_an_hour_by_one_replica(committed: Sessions) -> None:
    row, _ = await new_key(committed)
    seen = [LastUsed(committed) for _ in range(8)]
    instants = set()
    for _ in range(2):
        for each in seen:
            each.note(row.id)
        await asyncio.gather(*(each.store() for each in seen))
        instants.add(await last_used(committed, row))
    (first,) = instants
    assert first
    async with committed.begin() as session:
        aged = text("UPDATE api_keys SET last_used_at = now() - interval '61 minutes' WHERE id = :id")
        await session.execute(aged, {"id": row.id})
    seen[0].note(row.id)
    await seen[0].store()
    second = await last_used(committed, row)
    assert second
    assert second >= first


async def test_calls_are_noted_and_stored_while_the_service_runs(committed: Sessions) -> None:
    row, key = await new_key(committed)
    app = create_app(make_settings(), committed)
    async with client_of(app) as client:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
        assert (await client.post("/interviews", headers=headers, json=NEW)).status_code == 201
        assert await last_used(committed, row) is None
        async with app.state.services.last_used.running():
            pass  # the rest is stored at the end
    assert await last_used(committed, row)


async def test_a_locked_key_is_left_for_the_next_time(
    committed: Sessions, replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    row, key = await new_key(committed)
    seen = LastUsed(committed)
    async with committed.begin() as session:
        await session.execute(text("SELECT FROM api_keys FOR UPDATE"))
        assert await answers_of(replicas, key) == [200, 200]
        seen.note(row.id)
        await seen.store()
    assert "could not be stored" not in caplog.text  # as after a lock timeout
    assert await last_used(committed, row) is None
    seen.note(row.id)
    await seen.store()
    assert await last_used(committed, row)


async def test_a_failed_write_is_only_logged(
    committed: Sessions, own_engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    row, _ = await new_key(committed)
    seen = LastUsed(committed)
    async with committed.begin() as session:
        await session.execute(text("ALTER TABLE api_keys RENAME TO away"))
    seen.note(row.id)
    await seen.store()
    assert "could not be stored" in caplog.text
    async with committed.begin() as session:
        await session.execute(text("ALTER TABLE away RENAME TO api_keys"))
    assert await last_used(committed, row) is None

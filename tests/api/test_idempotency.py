"""Idempotency-Key: a repeated call does nothing and returns the first response."""

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.api import actions, idempotency, schedule
from app.api.idempotency import IdempotentRoute
from app.auth.api_keys import Scope, hash_key
from app.auth.idempotency_keys import Call, delete_expired_answers, kept_answer, take_turn
from app.core.database import create_engine, create_sessionmaker, transaction
from app.core.settings import Settings
from app.main import create_app
from app.models import ApiKey, Change, IdempotencyKey, Interview, Organization, TimelineEntry
from tests.calls import NEW, problem_of
from tests.conftest import API_KEY, AUTHORIZED, client_of
from tests.e2e.conditions import eventually
from tests.e2e.processes import Process, clean_environment, free_port, http_status
from tests.interview_driver import InterviewDriver

Sessions = async_sessionmaker[AsyncSession]
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


ASSIGNED = text("SELECT pg_current_xact_id_if_assigned()::text")


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def post(
    client: httpx.AsyncClient, path: str = "/interviews", body: Any = NEW, key: str = KEY, token: str | None = None
) -> httpx.Response:
    headers = (AUTHORIZED if token is None else {"Authorization": f"Bearer {token}"}) | {"Idempotency-Key": key}
    return await client.post(path, headers=headers, content=json.dumps(body) if body is not None else b"")


async def count(sessions: Sessions, table: type[Any] = Interview) -> int:
    async with sessions() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


def kept(answer: httpx.Response) -> tuple[object, ...]:
    """Return what must be equal when the response is replayed."""
    names = ("Content-Type", "Location", "ETag", "Content-Length")
    return answer.status_code, answer.content, *(answer.headers.get(name) for name in names)


async def test_a_repeated_call_does_nothing_and_returns_the_same_response(
    client: httpx.AsyncClient, sessions: Sessions
) -> None:
    first = await post(client)
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    for _ in range(2):
        again = await post(client)
        assert kept(again) == kept(first)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert [await count(sessions, table) for table in (Interview, Change, TimelineEntry)] == [1, 1, 1]


async def test_each_key_is_for_one_call(client: httpx.AsyncClient, sessions: Sessions) -> None:
    made = (await post(client)).json()
    others = [
        await post(client, body=NEW | {"jobTitle": "Chef"}),
        await post(client, "/interviews/batch"),
        await post(client, f"/interviews/{made['interviewId']}/cancel", None),
        await post(client, body={}),
    ]
    for other in others:
        problem = problem_of(other, 409, "idempotency_key_reused")
        assert "Use a new Idempotency-Key" in problem["detail"]
    assert (await post(client, key="another")).json()["interviewId"] != made["interviewId"]
    assert await count(sessions) == 2


async def test_every_call_that_creates_or_acts(driver: InterviewDriver) -> None:
    client = driver.client
    batch = await post(client, "/interviews/batch", {"interviews": [NEW, NEW]}, key="batch")
    made = (await post(client, key="new")).json()
    path = f"/interviews/{made['interviewId']}"
    done: list[tuple[str, str, Any, httpx.Response]] = [
        ("batch", "/interviews/batch", {"interviews": [NEW, NEW]}, batch)
    ]
    for name in ("cancel", "reopen"):
        done.append((name, f"{path}/{name}", None, await post(client, f"{path}/{name}", None, key=name)))
    opened = done[-1][3].json()
    await driver.talk(opened)
    said = {"roomName": opened["roomName"], "outcome": "completed", "result": {"score": 4}}
    done.append(("complete", f"{path}/complete", said, await post(client, f"{path}/complete", said, key="complete")))
    before = await driver.get(made)
    for name, call, body, first in done:
        assert first.status_code < 300, first.text
        again = await post(client, call, body, key=name)
        assert kept(again) == kept(first)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert await driver.get(made) == before


async def test_without_a_key_each_call_acts(client: httpx.AsyncClient, sessions: Sessions) -> None:
    for _ in range(2):
        assert (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).status_code == 201
    assert (await count(sessions), await count(sessions, IdempotencyKey)) == (2, 0)


async def test_an_error_leaves_the_key_free(client: httpx.AsyncClient, sessions: Sessions) -> None:
    problem_of(await post(client, body=NEW | {"maxDuration": 1}), 422, "payload_invalid")
    problem_of(await post(client, body=NEW | {"instructions": "x" * 8000}), 422, "token_too_large")
    problem_of(await post(client, f"/interviews/{uuid.UUID(int=1)}/cancel", None), 404, "interview_not_found")
    problem_of(await post(client, body="x" * 300_000), 413, "body_too_large")
    assert await count(sessions, IdempotencyKey) == 0
    assert (await post(client)).status_code == 201


async def test_refusals_are_not_stored(driver: InterviewDriver) -> None:
    made = await driver.new()
    path = f"/interviews/{made['interviewId']}/reopen"
    problem_of(await post(driver.client, path, {}), 409, "interview_not_over")
    await driver.call(made, "cancel")
    assert (await post(driver.client, path, {})).json()["attempt"] == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb", "schlüssel"])
async def test_an_odd_key_is_refused(client: httpx.AsyncClient, sessions: Sessions, key: str) -> None:
    headers = {b"Authorization": AUTHORIZED["Authorization"].encode(), b"Idempotency-Key": key.encode("latin-1")}
    answer = await client.post("/interviews", headers=headers, json=NEW)
    (fault,) = problem_of(answer, 422, "payload_invalid")["errors"]
    assert fault["field"] == "Idempotency-Key"
    assert await count(sessions) == 0


async def test_two_keys_are_refused(client: httpx.AsyncClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), *AUTHORIZED.items()]
    problem_of(await client.post("/interviews", headers=headers, json=NEW), 422, "payload_invalid")


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e"', "a b~!{}"])
async def test_a_plain_key_is_taken(client: httpx.AsyncClient, key: str) -> None:
    first, again = await post(client, key=key), await post(client, key=key)
    assert kept(again) == kept(first)


@pytest.fixture
async def others(sessions: Sessions) -> None:
    """More keys: of another organization, and with fewer scopes."""
    async with sessions.begin() as session:
        first = (await session.scalars(select(Organization.id))).one()
        other = Organization(name="other", company_name="x", instructions_template="x", max_duration=60)
        session.add(other)
        await session.flush()
        for organization_id, name, scopes in (
            (other.id, "ik_other", list(Scope)),
            (first, "ik_writer", [Scope.WRITE]),
            (first, "ik_reader", [Scope.READ, Scope.AGENT]),
        ):
            session.add(ApiKey(organization_id=organization_id, name=name, key_hash=hash_key(name), scopes=scopes))


@pytest.mark.usefixtures("others")
async def test_keys_are_an_organizations_own(client: httpx.AsyncClient) -> None:
    first, others = await post(client), await post(client, token="ik_other")  # noqa: S106 - of this test
    assert others.status_code == 201
    assert others.json()["interviewId"] != first.json()["interviewId"]
    colleague = await post(client, token="ik_writer")  # noqa: S106 - of this test
    assert kept(colleague) == kept(first)


@pytest.mark.usefixtures("others")
async def test_a_stored_response_requires_the_scope_of_the_call(client: httpx.AsyncClient) -> None:
    await post(client)
    problem_of(await post(client, token="ik_reader"), 403, "missing_scope")  # noqa: S106 - of this test
    problem_of(await post(client, token="ik_wrong"), 401, "unauthorized")  # noqa: S106 - of this test


async def test_a_key_is_free_again_after_a_day(client: httpx.AsyncClient, sessions: Sessions) -> None:
    first = await post(client)
    await age(sessions, hours=23.9)
    assert kept(await post(client)) == kept(first)
    await age(sessions, hours=24.1)
    other = await post(client, body=NEW | {"jobTitle": "Chef"})
    assert other.status_code == 201
    assert kept(await post(client, body=NEW | {"jobTitle": "Chef"})) == kept(other)


async def age(sessions: Sessions, *, hours: float) -> None:
    async with sessions.begin() as session:
        await session.execute(update(IdempotencyKey).values(created_at=datetime.now(UTC) - timedelta(hours=hours)))


async def test_what_has_expired_is_forgotten(client: httpx.AsyncClient, sessions: Sessions) -> None:
    await post(client, key="old")
    await age(sessions, hours=24.1)
    await post(client, key="new")
    async with transaction(sessions) as session:
        assert await delete_expired_answers(session, now=datetime.now(UTC)) == 1
    async with sessions() as session:
        assert (await session.scalars(select(IdempotencyKey.key))).all() == ["new"]


async def test_waiting_for_a_turn_takes_no_transaction_id(own_engine: AsyncEngine) -> None:
    """A transaction id older than the interview's lock would put the feed of changes out of order."""
    async with transaction(create_sessionmaker(own_engine)) as session:
        call = Call(uuid.UUID(int=1), KEY, b"")
        assert await take_turn(session, call=call)
        assert await kept_answer(session, call=call, now=datetime.now(UTC)) is None
        assert await session.scalar(ASSIGNED) is None


async def test_of_many_at_once_one_acts_and_all_get_its_answer(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(settings, sessions)) as client:
        answers = await asyncio.gather(*(post(client) for _ in range(40)))
    assert len({kept(each) for each in answers}) == 1
    assert [each.headers.get("Idempotent-Replayed") for each in answers].count(None) == 1
    assert [await count(sessions, table) for table in (Interview, Change, IdempotencyKey)] == [1, 1, 1]


async def test_of_two_different_calls_at_once_one_is_refused(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(settings, sessions)) as client:
        answers = await asyncio.gather(*(post(client, body=NEW | {"jobTitle": f"T{n}"}) for n in range(6)))
    assert sorted(each.status_code for each in answers) == [201] + [409] * 5
    assert await count(sessions) == 1


async def test_while_one_fails_the_one_that_waits_acts(
    own_engine: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first transaction is terminated midway: nothing of it is stored, and its key is free."""
    turns: list[bool] = []

    async def counted(session: AsyncSession, *, call: Call) -> bool:
        turns.append(await take_turn(session, call=call))
        return turns[-1]

    monkeypatch.setattr(idempotency, "take_turn", counted)
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(settings, sessions)) as client, sessions() as blocking:
        await blocking.execute(text("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE"))
        first = asyncio.create_task(post(client))
        pid = await waiting(sessions)  # it has scheduled, and can't store the answer
        second = asyncio.create_task(post(client))
        while turns[:2] != [True, False]:  # noqa: ASYNC110 - what is waited for is the other task's
            await asyncio.sleep(0.01)
        async with sessions.begin() as session:
            await session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        problem_of(await first, 503, "database_unavailable")
        assert await count(sessions) == 0
        await blocking.rollback()
        answer = await second
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert [await count(sessions, table) for table in (Interview, Change, IdempotencyKey)] == [1, 1, 1]


WAITING = text(
    "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"  # the other tests' are there too
)


async def waiting(sessions: Sessions) -> int:
    """Return the process id of a backend, once it waits for a table of this database."""

    async def found() -> int | None:
        async with sessions() as session:
            pid: int | None = await session.scalar(WAITING)
            return pid

    return await eventually(found)


@pytest.fixture
async def service(own_database: str, tmp_path: Path) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """The real service as a process, and a caller of it."""
    port = free_port()
    env = clean_environment(
        DATABASE_URL=own_database, PORT=str(port), BOOTSTRAP_API_KEY=API_KEY, JOIN_POLICY="open", RUN_WORKER="false"
    )
    process = Process([sys.executable, "-m", "app.cli", "serve"], env=env, cwd=tmp_path, log=tmp_path / "service.log")
    await asyncio.to_thread(start, process)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield process, client
    process.kill()


def start(process: Process) -> None:
    process.start()
    process.wait_until(lambda: http_status(int(process.env["PORT"]), "/health/ready") == 200, within=60)


@pytest.mark.slow
async def test_after_kill_9_change_and_response_are_both_stored_or_neither(
    service: tuple[Process, httpx.AsyncClient], own_database: str
) -> None:
    process, client = service
    engine = create_engine(own_database)
    sessions = create_sessionmaker(engine)
    async with sessions() as blocking:  # all has been done, but for the storing of the answer
        await blocking.execute(text("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE"))
        calling = asyncio.create_task(post(client, key="first"))
        await waiting(sessions)
        await asyncio.to_thread(process.kill)
        with pytest.raises(httpx.TransportError):
            await calling
    assert (await scheduled(sessions), await count(sessions, IdempotencyKey)) == (0, 0)

    await asyncio.to_thread(start, process)
    keys = ["first", *map(str, range(29))]
    calls = [asyncio.create_task(post(client, key=key)) for key in keys]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(process.kill)
    told = await asyncio.gather(*calls, return_exceptions=True)
    done = await count(sessions, IdempotencyKey)
    assert await scheduled(sessions) == done >= 1

    await asyncio.to_thread(start, process)
    for key, before in zip(keys, told, strict=True):
        answer = await post(client, key=key)
        assert answer.status_code == 201
        if isinstance(before, httpx.Response):
            assert kept(answer) == kept(before)
    assert (await scheduled(sessions), await count(sessions, IdempotencyKey)) == (30, 30)
    await engine.dispose()


async def scheduled(sessions: Sessions) -> int:
    """Return the number of interviews without the demo."""
    async with sessions() as session:
        ours = select(func.count()).select_from(Interview).where(Interview.candidate_id == NEW["candidateId"])
        return await session.scalar(ours) or 0


# An answer that is kept would keep the invitation's secret, of which only the hash is stored; a new one is as good.
KEYLESS = {"/interviews/{interview_id}/invite", "/interviews/{interview_id}/transcript"}


def test_every_guarded_post_takes_the_key_and_says_so(app: FastAPI) -> None:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            named = [each["name"] for each in operation.get("parameters", []) if each["in"] == "header"]
            is_guarded = {"apiKey": []} in operation.get("security", [])
            takes_it = method == "post" and is_guarded and path not in KEYLESS
            assert ("Idempotency-Key" in named) == takes_it, (method, path)
            assert ("idempotency_key_reused" in json.dumps(operation)) == takes_it, (method, path)


def test_a_post_without_a_caller_cannot_take_the_key() -> None:
    async def anybody() -> None: ...

    with pytest.raises(ValueError, match="not enough values"):
        IdempotentRoute("/x", anybody, methods=["POST"], dependencies=[], responses={})
    assert isinstance(IdempotentRoute("/x", anybody, methods=["GET"], dependencies=[], responses={}), APIRoute)
    assert actions.router.route_class is schedule.router.route_class is IdempotentRoute

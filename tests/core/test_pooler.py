"""All features through a real PgBouncer in transaction mode, with fewer connections than clients."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.core.database import create_engine, create_sessionmaker, transaction
from tests.calls import AGENT, CANDIDATE, NEW, Room, read, scheduled
from tests.cli.test_cli import WITHIN, Service, assert_refused, execute, run
from tests.conftest import API_KEY, AUTHORIZED, LIVEKIT_KEY, LIVEKIT_SECRET, _execute, database_url, run_now
from tests.e2e.conditions import eventually
from tests.pooler import SERVER_CONNECTIONS, pooler
from tests.webhooks.receiver import Receiver, receiving
from tests.worker.livekit_stub import running_stub

CONCURRENCY = 30
IGNORED = {"ignore_startup_parameters": "statement_timeout,lock_timeout,idle_in_transaction_session_timeout"}


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """A database without tables."""
    name = f"test_{uuid.uuid4().hex}"
    run_now(_execute(postgres_url, f"CREATE DATABASE {name}"))
    yield database_url(postgres_url, name)
    run_now(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def service(tmp_path: Path, empty_database: str) -> AsyncIterator[Service]:
    """A service of two processes with its worker, on an empty database."""
    async with running_stub() as livekit:
        with pooler(empty_database) as pooled:
            ours = Service(
                tmp_path / "service",
                DATABASE_URL=f"{pooled}?pgbouncer=true",
                DATABASE_LISTEN_URL=empty_database,
                BOOTSTRAP_API_KEY=API_KEY,
                LIVEKIT_API_URL=livekit.url,
                LIVEKIT_API_KEY=LIVEKIT_KEY,
                LIVEKIT_API_SECRET=LIVEKIT_SECRET,
                RUN_WORKER="true",
                CANDIDATE_GRACE="1",
                RECONCILE_EVERY="3600",  # so that only the deadline finds the room empty
                WORKERS="2",
            )
            try:
                await asyncio.to_thread(ours.start_and_wait)
                yield ours
            finally:
                ours.send(signal.SIGTERM)
                assert await asyncio.to_thread(ours.wait, WITHIN) == 0, ours.log_tail()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=service.url, timeout=WITHIN) as client:
        yield client


async def test_all_features(
    service: Service, client: httpx.AsyncClient, receiver: Receiver, empty_database: str
) -> None:
    endpoint = {"url": receiver.url}
    answer = await client.post("/webhook-endpoints", headers=AUTHORIZED, json=endpoint)
    assert answer.status_code == 201, answer.text
    async with client.stream("GET", "/interviews/stream", headers=AUTHORIZED) as stream:
        lines = stream.aiter_lines()
        first = await scheduled_twice(client)
        await everybody_joins(client)
        await by_each_policy(client)

        room = Room(client, first)
        await room.joined("PA_c", CANDIDATE, 1)
        await room.joined("PA_a", AGENT, 2)
        assert (await read(client, first))["status"] == "IN_PROGRESS"
        await room.left("PA_c", CANDIDATE, 20, joined=1)
        await eventually(lambda: has_status(client, first, "ABANDONED"), within=WITHIN)  # the worker's deadline

        await event_arrives(lines, first["interviewId"], "ABANDONED")
    await eventually(lambda: [each for each in receiver.received if b"ABANDONED" in each.body], within=WITHIN)
    found = await client.get("/interviews", headers=AUTHORIZED, params={"q": "Developer", "status": "ABANDONED"})
    assert [each["interviewId"] for each in found.json()["data"]] == [first["interviewId"]]
    timeline = await client.get(f"/interviews/{first['interviewId']}/timeline", headers=AUTHORIZED)
    assert timeline.json()["data"]

    audit = await asyncio.to_thread(
        run, service.cwd, "audit", DATABASE_URL=service.env["DATABASE_URL"], BOOTSTRAP_API_KEY=API_KEY
    )
    assert audit.stdout == "0 differences\n", audit.stderr
    assert "Traceback" not in service.output
    assert "ERROR" not in service.output
    names = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE "
    assert execute(empty_database, names + "'interviews'") <= SERVER_CONNECTIONS
    assert execute(empty_database, names + "'interviews-listen'") == 2


async def scheduled_twice(client: httpx.AsyncClient) -> dict[str, Any]:
    """Schedule an interview with a retried call."""
    keyed = {**AUTHORIZED, "Idempotency-Key": "once"}
    answers = [await client.post("/interviews", headers=keyed, json=NEW) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    made: dict[str, Any] = answers[0].json()
    assert answers[1].json() == made
    return made


async def everybody_joins(client: httpx.AsyncClient) -> None:
    """More than there are connections."""
    batch = {"interviews": [NEW | {"candidateId": f"c{number}"} for number in range(CONCURRENCY)]}
    made = (await client.post("/interviews/batch", headers=AUTHORIZED, json=batch)).json()["data"]
    joins = [client.post(f"/interviews/{each['interviewId']}/join") for each in made]
    reads = [client.get("/interviews", headers=AUTHORIZED) for _ in made]
    answers = await asyncio.gather(*joins, *reads)
    assert {answer.status_code for answer in answers} == {200}


async def by_each_policy(client: httpx.AsyncClient) -> None:
    path = f"/interviews/{(await scheduled(client))['interviewId']}"
    await set_policy(client, "phone")
    assert (await client.post(f"{path}/join", json={"phoneNumber": "966500000000"})).status_code == 403
    assert (await client.post(f"{path}/join", json={"phoneNumber": "0509876543"})).status_code == 200
    await set_policy(client, "invite")
    assert (await client.post(f"{path}/join")).status_code == 401
    invite = (await client.post(f"{path}/invite", headers=AUTHORIZED)).json()["invite"]
    assert (await client.post(f"{path}/join", json={"invite": invite})).status_code == 200


async def set_policy(client: httpx.AsyncClient, policy: str) -> None:
    answer = await client.patch("/organization", headers=AUTHORIZED, json={"joinPolicy": policy})
    assert answer.status_code == 200, answer.text


async def has_status(client: httpx.AsyncClient, interview: dict[str, Any], status: str) -> bool:
    return bool((await read(client, interview))["status"] == status)


async def event_arrives(lines: AsyncIterator[str], interview_id: str, status: str) -> None:
    async with asyncio.timeout(WITHIN):
        async for line in lines:
            if interview_id in line and status in line:
                return


async def test_the_limits_hold_in_each_transaction(own_database: str) -> None:
    with pooler(own_database) as pooled:
        engine = create_engine(f"{pooled}?pgbouncer=true", pool_size=CONCURRENCY)
        sessions = create_sessionmaker(engine)

        async def query(number: int) -> tuple[str, int]:
            async with transaction(sessions) as session:
                limit = await session.scalar(text("SELECT current_setting('statement_timeout')"))
                echoed = await session.scalar(text("SELECT CAST(:number AS int)"), {"number": number})
            return limit, echoed

        answers = await asyncio.gather(*(query(number) for number in range(200)))
        assert answers == [("8s", number) for number in range(200)]
        await engine.dispose()


@pytest.mark.parametrize("options", [{}, IGNORED])
def test_an_undeclared_pooler(tmp_path: Path, own_database: str, options: dict[str, str]) -> None:
    with pooler(own_database, **options) as pooled:
        assert_refused(run(tmp_path, "keys", "list", DATABASE_URL=pooled), "add pgbouncer=true to its options")
        assert run(tmp_path, "keys", "list", DATABASE_URL=f"{pooled}?pgbouncer=true").returncode == 0


@pytest.mark.slow
def test_a_migration_needs_a_direct_connection(tmp_path: Path, empty_database: str) -> None:
    with pooler(empty_database) as pooled:
        given = {"DATABASE_URL": f"{pooled}?pgbouncer=true"}
        assert_refused(run(tmp_path, "migrate", **given), "set DATABASE_LISTEN_URL")
        assert run(tmp_path, "migrate", DATABASE_LISTEN_URL=empty_database, **given).returncode == 0
        assert run(tmp_path, "migrate", **given).returncode == 0  # nothing is left to do

"""A database that is down, full or busy: callers have to retry, and LiveKit retries its webhooks."""

import asyncio
import os
import signal
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core import database
from app.core.database import create_engine, create_sessionmaker, masked
from app.core.settings import Settings
from app.main import create_app
from tests import livekit_webhooks
from tests.calls import CANDIDATE, Room, join, problem_of, read, scheduled
from tests.conftest import AUTHORIZED, client_of

NOBODY_LISTENS = "postgresql://interviews@127.0.0.1:1/interviews"


async def every_call_is_refused(client: httpx.AsyncClient) -> None:
    body = livekit_webhooks.encode(
        livekit_webhooks.event("room_started", room=f"interview-{uuid.uuid4()}", at=datetime.now(UTC))
    )
    calls = [
        await client.post(f"/interviews/{uuid.uuid4()}/join"),
        await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body)),
        await client.get("/interviews", headers=AUTHORIZED),
        await client.get("/health/ready"),
    ]
    for answer in calls:
        problem_of(answer, 503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_nothing_listens(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    engine = create_engine(NOBODY_LISTENS)
    async with client_of(create_app(settings, create_sessionmaker(engine))) as client:
        await every_call_is_refused(client)
    await engine.dispose()
    assert "database_unavailable: ConnectionRefusedError" in caplog.text


async def test_the_server_has_no_connection_left(
    own_engine: AsyncEngine, own_database: str, settings: Settings
) -> None:
    role = f"full_{uuid.uuid4().hex}"
    async with own_engine.begin() as connection:
        await connection.execute(text(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0"))
    engine = create_engine(urlunsplit(urlsplit(own_database)._replace(netloc=f"{role}@")))
    async with client_of(create_app(settings, create_sessionmaker(engine))) as client:
        await every_call_is_refused(client)
    await engine.dispose()
    async with own_engine.begin() as connection:
        await connection.execute(text(f"DROP ROLE {role}"))


async def test_the_server_ends_connections_as_soon_as_they_are_made(own_database: str, settings: Settings) -> None:
    """As it may during shutdown."""
    engine = create_engine(own_database)
    event.listen(engine.sync_engine, "connect", lambda made, _: made.driver_connection.terminate())
    async with client_of(create_app(settings, create_sessionmaker(engine))) as client:
        await every_call_is_refused(client)
    await engine.dispose()


async def test_connections_that_the_server_has_ended_are_replaced(
    own_engine: AsyncEngine, postgres_url: str, settings: Settings
) -> None:
    """After a restart of Postgres the first calls succeed: the pool replaces closed connections."""
    async with client_of(create_app(settings, create_sessionmaker(own_engine))) as client:
        made = await scheduled(client)
        admin = create_engine(postgres_url)
        ended = text(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE datname = :name AND backend_type = 'client backend'"
        )
        async with admin.connect() as connection:
            found = await connection.execute(ended, {"name": urlsplit(str(await database_of(own_engine))).path})
            assert [row[0] for row in found] == [True]
        await admin.dispose()
        assert (await join(client, made)).status_code == 200


async def database_of(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return str(await connection.scalar(text("SELECT current_database()")))


def end(process: int) -> None:
    """End a backend, and wait until it is gone. The event loop is blocked, so that asyncpg does not notice."""
    os.kill(process, signal.SIGTERM)
    for _ in range(3_000):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"process {process} does not end")


@pytest.mark.parametrize(("ping_after", "status"), [(0.0, 200), (3600.0, 503)])
async def test_a_connection_that_died_unnoticed(
    own_engine: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch, ping_after: float, status: int
) -> None:
    """As after a firewall dropped it. It is pinged after some idle time, but not when it was used just before."""
    monkeypatch.setattr(database, "PING_AFTER_IDLE", ping_after)
    async with client_of(create_app(settings, create_sessionmaker(own_engine))) as client:
        interview = await scheduled(client)
        async with own_engine.connect() as connection:
            process = await connection.scalar(text("SELECT pg_backend_pid()"))
        end(process)
        assert (await join(client, interview)).status_code == status
        assert (await join(client, interview)).status_code == 200


async def test_a_webhook_cut_off_in_its_transaction_leaves_nothing_and_can_be_retried(
    own_engine: AsyncEngine, own_database: str, settings: Settings
) -> None:
    """Its backend is ended while it waits for the interview's row: 503, nothing stored, and the retry is recorded."""
    other = create_engine(own_database)
    async with client_of(create_app(settings, create_sessionmaker(own_engine))) as client:
        room = Room(client, await scheduled(client))
        event = room.event("participant_joined", 0, room.who("PA_c", CANDIDATE))
        body = livekit_webhooks.encode(event)
        async with other.begin() as holder:
            await holder.execute(text("SELECT id FROM interviews FOR UPDATE"))
            waiting = asyncio.create_task(
                client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
            )
            cut = text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while not (await holder.execute(cut)).all():
                assert not waiting.done()
                await asyncio.sleep(0)
            problem_of(await waiting, 503, "database_unavailable")
        assert await read(client, room.interview) == room.interview | {
            "summary": None,
            "result": None,
            "transcriptLines": 0,
        }
        answer = await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
        assert answer.json() == {"result": "recorded"}
    await other.dispose()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hush@h:5432/d?sslmode=require", "postgresql://u:***@h:5432/d?sslmode=require"),
        ("postgres://u:hush:hush@h/d", "postgres://u:***@h/d"),
        ("postgresql://u:hu@sh@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:hu/sh@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:[hush@h/d", "postgresql://u:***@h/d"),
        ("postgresql://:hush@h/d", "postgresql://:***@h/d"),
        ("postgresql://h/d?user=u&password=hush&port=1", "postgresql://h/d?user=u&password=***&port=1"),
        ("postgresql:///d?password=hush", "postgresql:///d?password=***"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://u@/d?host=/run/pg&port=5432", "postgresql://u@/d?host=/run/pg&port=5432"),
        ("junk", "junk"),
    ],
)
def test_urls_are_shown_without_their_password(url: str, shown: str) -> None:
    assert masked(url) == shown

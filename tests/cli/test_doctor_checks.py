"""The doctor's judgements; what it sees of a real set-up is in tests/e2e/test_doctor.py."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.cli.doctor_checks import Finding, State, compare_clock, examine, table
from app.core.database import create_engine, create_sessionmaker
from app.interviews.livekit_events import WebhookResult
from app.livekit.access_tokens import signer_of
from app.livekit.client import LiveKitUnavailable, clock_of, may_join
from app.livekit.rooms import PROBE_ROOM
from app.models import Probe
from tests import livekit_webhooks
from tests.conftest import make_settings
from tests.redis_server import running_redis


@pytest.mark.parametrize(
    ("off", "state", "seen"),
    [
        (0, State.OK, ""),
        (4, State.OK, ""),
        (-4, State.OK, ""),
        (6, State.WARN, "ahead of ours"),
        (-6, State.WARN, "behind ours"),
        (61, State.FAULT, "ahead of ours"),
        (-60, State.FAULT, "behind ours"),
    ],
)
def test_a_clock_is_judged_by_livekits_leeway(off: int, state: State, seen: str) -> None:
    now = datetime.now(UTC)
    finding = compare_clock("clock", now + timedelta(seconds=off), now)
    assert finding.state is state
    assert seen in finding.seen
    assert bool(finding.todo) is (state is not State.OK)


def test_a_server_that_does_not_tell_the_time_is_no_fault() -> None:
    assert compare_clock("clock", None, datetime.now(UTC)).state is State.WARN


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"Date: Sun, 22 Nov 2026 21:00:00 GMT\r\n", datetime(2026, 11, 22, 21, tzinfo=UTC)),
        (b"Date: soon\r\n", None),
        (b"", None),
    ],
)
async def test_the_clock_is_read_from_any_answer(header: bytes, told: datetime | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n" + header + b"\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for scheme in ("http", "ws"):
            assert await clock_of(f"{scheme}://127.0.0.1:{port}") == told


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        ("200 OK", b"success", True),
        ("404 Not Found", b"requested room does not exist", False),
        ("404 Not Found", b"<h1>nginx</h1>", "LiveKit answered 404 to /rtc/validate"),
        ("401 Unauthorized", b"invalid token: TOKEN", "LiveKit answered 401 to /rtc/validate"),
    ],
)
async def test_livekit_is_asked_as_a_candidates_page_asks_it(status: str, body: bytes, expected: bool | str) -> None:
    """No answer's body is shown, because LiveKit's 401 repeats the token."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        if isinstance(expected, bool):
            assert await may_join(url, "TOKEN") is expected
        else:
            with pytest.raises(LiveKitUnavailable) as raised:
                await may_join(url, "TOKEN")
            assert str(raised.value) == expected
    assert requests[0].startswith(b"GET /rtc/validate HTTP/1.1\r\n")
    assert b"Authorization: Bearer TOKEN\r\n" in requests[0]


async def test_only_a_webhook_that_somebody_waits_for_is_noted(sessions: async_sessionmaker[AsyncSession]) -> None:
    room, now = PROBE_ROOM + uuid4().hex, datetime.now(UTC)
    event, timeouts = livekit_webhooks.event("room_started", room=room, at=now), make_settings().timeouts
    assert await livekit_webhooks.deliver(sessions, event, at=now, timeouts=timeouts) is WebhookResult.IGNORED
    async with sessions.begin() as session:
        session.add(Probe(room=room))
    assert await livekit_webhooks.deliver(sessions, event, at=now, timeouts=timeouts) is WebhookResult.RECORDED
    assert (
        await livekit_webhooks.deliver(sessions, event, at=now + timedelta(1), timeouts=timeouts)
        is WebhookResult.IGNORED
    )
    async with sessions() as session:
        assert (await session.get_one(Probe, room)).arrived_at == now


async def test_a_database_that_fails_is_a_finding(own_database: str) -> None:
    """Whatever is wrong with it, the doctor goes on to LiveKit, and nothing is raised."""
    settings = make_settings(livekit_url="ws://127.0.0.1:9", database_url=own_database)
    for statement in ("DROP TABLE api_keys CASCADE", "DROP TABLE interviews CASCADE", "DROP TABLE alembic_version"):
        engine = create_engine(own_database)
        async with engine.begin() as connection:
            await connection.execute(text(statement))
        sessions = create_sessionmaker(engine)
        findings = await examine(settings, sessions, signer=signer_of(settings), now=datetime.now(UTC))
        await engine.dispose()
        states = {finding.what: finding.state for finding in findings}
        assert states["database"] is State.OK
        assert states["LiveKit and its keys"] is states["webhook"] is State.FAULT
        assert all(finding.todo for finding in findings if finding.state is not State.OK)
        if "alembic" in statement:
            assert states["migrations"] is State.FAULT
        else:
            assert states["bootstrap key"] is State.FAULT


async def looked_at(sessions: async_sessionmaker[AsyncSession], storage_url: str) -> list[tuple[State, str, str]]:
    """Return what is found of the rate limits: state, what was seen, what to do."""
    settings = make_settings(livekit_url="ws://127.0.0.1:9", rate_limit_storage_url=storage_url)
    findings = await examine(settings, sessions, signer=signer_of(settings), now=datetime.now(UTC))
    return [(each.state, each.seen, each.todo) for each in findings if each.what == "rate limits"]


async def test_the_rate_limits_storage_is_looked_at_where_replicas_share_one(
    sessions: async_sessionmaker[AsyncSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await looked_at(sessions, "memory://") == []
    with running_redis(tmp_path) as redis:
        monkeypatch.setattr("app.cli.doctor_checks.STORAGE_TIMEOUT", 30.0)
        monkeypatch.setattr("app.cli.doctor_checks.ANSWER_WITHIN", 30.0)  # this machine may be busy
        for url in (redis.url, redis.url.replace("redis", "valkey", 1)):
            ((state, seen, todo),) = await looked_at(sessions, url)
            assert (state, seen[:23], todo) == (State.OK, "the storage answers in ", "")
        monkeypatch.setattr("app.cli.doctor_checks.ANSWER_WITHIN", 0.0)
        ((state, _, todo),) = await looked_at(sessions, redis.url)
        assert (state, "closer" in todo) == (State.WARN, True)
        redis.kill()
        ((state, seen, todo),) = await looked_at(sessions, redis.url.replace("//", "//user:hush@"))
        assert (state, "RATE_LIMIT_STORAGE_URL" in todo) == (State.FAULT, True)
        assert seen.startswith("ConnectionError: ")
        assert "hush" not in seen


async def test_a_rate_limits_storage_that_hangs_is_not_waited_for(
    sessions: async_sessionmaker[AsyncSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.doctor_checks.STORAGE_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        ((state, seen, _),) = await looked_at(sessions, f"redis://127.0.0.1:{mute.getsockname()[1]}")
    assert (state, seen) == (State.FAULT, "no answer within 0.1 s")


def test_the_table_says_what_to_do() -> None:
    shown = table([Finding("database", State.OK, "Postgres 18"), Finding("webhook", State.FAULT, "none", "Look.")])
    assert shown.splitlines() == [
        "ok     database  Postgres 18",
        "fault  webhook   none",
        "                 -> Look.",
    ]

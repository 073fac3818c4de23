"""Rate limits that replicas share, on a real Redis: one count for all, and calls go on while it is away."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core import rate_limits
from app.main import create_app
from tests.api.test_rate_limits import JOIN, assert_limited, client_from, limits_of
from tests.conftest import AUTHORIZED, make_settings
from tests.e2e.conditions import eventually
from tests.redis_server import Redis, running_redis

Sessions = async_sessionmaker[AsyncSession]
Replicas = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow Redis on a busy machine must not count as unavailable."""
    monkeypatch.setattr(rate_limits, "ANSWER_WITHIN", 30.0)


@pytest.fixture
def redis(tmp_path: Path, patient: None) -> Iterator[Redis]:
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
async def replicas(sessions: Sessions, redis: Redis) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as running:
        yield (
            await replica(running, sessions, redis.url),
            await replica(running, sessions, redis.url.replace("redis", "valkey", 1)),
        )


async def replica(running: AsyncExitStack, sessions: Sessions, url: str) -> httpx.AsyncClient:
    limits = {"rate_limit_per_address": "5/year", "rate_limit_per_key": "3/year"}
    app = create_app(make_settings(rate_limit_storage_url=url, **limits), sessions)
    running.push_async_callback(app.state.services.rate_limits.close)
    return await running.enter_async_context(client_from(app, "192.0.2.1"))


def unchecked() -> float:
    return REGISTRY.get_sample_value("interviews_rate_limits_unchecked_total") or 0.0


async def test_replicas_count_as_one(replicas: Replicas) -> None:
    one, other = replicas
    for client, left in ((one, (4, 2)), (other, (3, 1)), (one, (2, 0))):
        answer = await client.get("/interviews", headers=AUTHORIZED)
        assert (answer.status_code, limits_of(answer)) == (200, {"address": left[0], "key": left[1]})
    assert_limited(await other.get("/interviews", headers=AUTHORIZED), by="key")
    assert (await one.post(JOIN)).status_code == 404
    for client in replicas:
        assert_limited(await client.post(JOIN), by="address")


async def test_calls_at_once_are_each_counted(replicas: Replicas) -> None:
    answers = await asyncio.gather(*(client.post("/nowhere") for client in replicas * 10))
    assert sorted(answer.status_code for answer in answers) == [404] * 5 + [429] * 15


async def test_while_redis_is_away_calls_go_on_and_then_count_again(
    replicas: Replicas, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = replicas
    monkeypatch.setattr(rate_limits, "PAUSE", 0.0)  # each call asks again
    assert limits_of(await one.post(JOIN)) == {"address": 4}
    redis.kill()
    before = unchecked()
    for _ in range(7):
        answer = await one.post(JOIN)
        assert (answer.status_code, limits_of(answer)) == (404, {})
    assert unchecked() == before + 7
    assert caplog.text.count("does not answer, calls pass uncounted") == 1
    redis.start_and_wait()
    assert limits_of(await one.post(JOIN)) == {"address": 4}  # it had nothing stored
    assert unchecked() == before + 7


async def test_a_redis_that_came_back_between_two_calls_costs_none(replicas: Replicas, redis: Redis) -> None:
    """The pooled connection is dead: the command is retried on a new one."""
    one, _ = replicas
    before = unchecked()
    assert limits_of(await one.post(JOIN)) == {"address": 4}
    redis.kill()
    redis.start_and_wait()
    assert limits_of(await one.post(JOIN)) == {"address": 4}
    assert unchecked() == before


async def test_one_that_hangs_is_given_up_and_not_asked_for_a_while(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that accepts and never responds: one call waits, later ones skip it."""
    monkeypatch.setattr(rate_limits, "PAUSE", 3600.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.setblocking(False)
        async with AsyncExitStack() as running:
            client = await replica(running, sessions, f"redis://127.0.0.1:{mute.getsockname()[1]}")
            before = unchecked()
            assert (await client.post(JOIN)).status_code == 404
            asked = connections(mute)
            assert asked
            for _ in range(20):
                assert (await client.post(JOIN)).status_code == 404
            assert connections(mute) == 0
            assert unchecked() == before + 21


def connections(listener: socket.socket) -> int:
    """Accept and close the pending connections; return their number."""
    taken = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return taken
        taken += 1


async def test_counts_are_forgotten_by_redis_itself(redis: Redis) -> None:
    limits = rate_limits.rate_limits_of(per_address="5 per 1 second", per_key="none", storage_url=redis.url)
    assert limits.address
    standing = await limits.address.count("192.0.2.1")
    assert standing
    assert standing.remaining == 4
    await limits.close()

    def is_empty() -> bool:
        with socket.create_connection(("127.0.0.1", redis.port), timeout=5) as connection:
            connection.sendall(b"DBSIZE\r\n")
            return connection.recv(64) == b":0\r\n"

    await eventually(is_empty)

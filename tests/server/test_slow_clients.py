"""A slow-loris attack: hundreds of clients that never finish a request. Joins go on, and those clients time out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from app.interviews.demo import DEMO_ID
from tests.cli.test_cli import Service
from tests.e2e.conditions import eventually
from tests.sockets import SocketClient, connect_to

CLIENTS = 200  # of each kind
BEGUN = (
    b"POST /webhooks/livekit HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    b"POST /webhooks/livekit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
)


@pytest.fixture
async def service(tmp_path: Path, own_database: str) -> AsyncIterator[Service]:
    service = Service(tmp_path / "service", DATABASE_URL=own_database)
    await asyncio.to_thread(service.start_and_wait)
    yield service
    await asyncio.to_thread(service.stop)


async def _drip(client: SocketClient, ended: Callable[[], None]) -> None:
    """Send a byte a second until disconnected."""
    heard = asyncio.create_task(client.rest())
    while not heard.done():
        await client.send(b"a")
        await asyncio.wait([heard], timeout=1)
    ended()


@pytest.mark.slow
async def test_joins_go_on_beside_a_slow_loris(service: Service) -> None:
    put_out = 0

    def count() -> None:
        nonlocal put_out
        put_out += 1

    async def joined() -> bool:
        answer = await client.post(f"/interviews/{DEMO_ID}/join")
        assert answer.status_code == 200, answer.text
        return put_out == len(BEGUN) * CLIENTS

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=30))
        attack = await stack.enter_async_context(asyncio.TaskGroup())
        for begun in BEGUN:
            for _ in range(CLIENTS):
                slow = await stack.enter_async_context(connect_to(service.port))
                await slow.send(begun)
                attack.create_task(_drip(slow, count))
        assert not await joined()
        await eventually(partial(joined), within=120)

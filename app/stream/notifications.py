"""Hears Postgres' notifications on a connection of its own. They save time; nothing depends on them."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

import asyncpg

from app.core.database import CONNECT_TIMEOUT
from app.interviews.changes import CHANNEL

log = logging.getLogger(__name__)

APPLICATION_NAME = "interviews-listen"
SHORTEST_PAUSE = 0.1  # seconds
LONGEST_PAUSE = 5.0
CHECK = 30.0  # seconds after which the connection is asked whether it is still there


async def listen(url: str, *, on_notify: Callable[[str], None], on_reconnect: Callable[[], None]) -> None:
    """Call `on_notify` with each notification's payload, and `on_reconnect` whenever some may have been missed."""
    pause = SHORTEST_PAUSE
    while True:
        began = time.monotonic()
        try:
            await _listen(url, on_notify, on_reconnect)
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # its text may hold a piece of the password
            log.warning("the stream polls until it hears notifications again: %s", type(error).__name__)
        has_lasted = time.monotonic() - began > LONGEST_PAUSE
        pause = SHORTEST_PAUSE if has_lasted else min(pause * 2, LONGEST_PAUSE)
        await asyncio.sleep(pause)


async def _listen(url: str, on_notify: Callable[[str], None], on_reconnect: Callable[[], None]) -> None:
    """Listen until the connection is lost, and raise what asyncpg raises then."""
    connection = await asyncpg.connect(
        url, timeout=CONNECT_TIMEOUT, server_settings={"application_name": APPLICATION_NAME}
    )
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, lambda _connection, _pid, _channel, payload: on_notify(payload))
        on_reconnect()
        while not await _happens(lost, within=CHECK):
            await connection.execute("SELECT 1", timeout=CONNECT_TIMEOUT)  # a peer that vanished says nothing
        raise ConnectionResetError
    finally:
        connection.terminate()


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    return event.is_set()

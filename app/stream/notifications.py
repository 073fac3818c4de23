"""Listens to Postgres notifications on a connection of its own. They only reduce latency: the stream also polls."""

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
MIN_BACKOFF = 0.1  # seconds
MAX_BACKOFF = 5.0
CHECK_INTERVAL = 30.0  # seconds between checks that the connection is alive


async def listen(url: str, *, on_notify: Callable[[str], None], on_reconnect: Callable[[], None]) -> None:
    """Call `on_notify` with each notification's payload, and `on_reconnect` when some may have been missed."""
    backoff = MIN_BACKOFF
    while True:
        began = time.monotonic()
        try:
            await _listen(url, on_notify, on_reconnect)
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # the error's text may contain part of the password
            log.warning("notifications are lost, the stream polls until it reconnects: %s", type(error).__name__)
        has_lasted = time.monotonic() - began > MAX_BACKOFF
        backoff = MIN_BACKOFF if has_lasted else min(backoff * 2, MAX_BACKOFF)
        await asyncio.sleep(backoff)


async def _listen(url: str, on_notify: Callable[[str], None], on_reconnect: Callable[[], None]) -> None:
    """Listen until the connection is lost; raise its error."""
    connection = await asyncpg.connect(
        url, timeout=CONNECT_TIMEOUT, server_settings={"application_name": APPLICATION_NAME}
    )
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, lambda _connection, _pid, _channel, payload: on_notify(payload))
        on_reconnect()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL):
                    await lost.wait()
                    raise ConnectionResetError
            await connection.execute("SELECT 1", timeout=CONNECT_TIMEOUT)  # a vanished peer closes nothing
    finally:
        connection.terminate()

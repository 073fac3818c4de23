"""Runs the service on one socket, in one process or several."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from app.core.database import create_engine, create_sessionmaker
from app.core.logging import configure_logging
from app.core.settings import Settings
from app.main import create_app
from app.server.processes import fork_workers
from app.server.protocol import BoundedProtocol
from app.stream.hub import Hub
from app.worker.runner import running_worker

log = logging.getLogger(__name__)

DRAIN_TIMEOUT = 10  # seconds that open requests get when the service stops
STOP_TIMEOUT = 30.0  # seconds that a process gets to stop, its worker included
NOT_STARTED = 3  # uvicorn's own exit code


class Server(uvicorn.Server):
    """Ends the event streams before it waits for open requests, as they would never end."""

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self.parent: int | None = None
        """A file descriptor that becomes readable when the parent process dies."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.parent is not None:
            asyncio.get_running_loop().add_reader(self.parent, self._stop_after_parent, self.parent)

    def _stop_after_parent(self, parent: int) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        log.error("the parent process died; this process stops, as nothing would restart it")
        os.kill(os.getpid(), signal.SIGTERM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)

    def run_until_stopped(self, sockets: list[socket.socket]) -> None:
        """Run like uvicorn.run: Ctrl-C ends normally, a failed start exits with uvicorn's code."""
        with suppress(KeyboardInterrupt):
            self.run(sockets)
        if not self.started:
            sys.exit(NOT_STARTED)


def run(
    settings: Settings,
    url: str,
    *,
    listening: socket.socket,
    listen_url: str | None,
    workers: int,
    counters: str | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve on the socket until stopped. `on_ready` is called once, before the first request is accepted.

    `listen_url` is for Postgres' LISTEN, None if no connection can do that; `counters` is the folder in which several
    processes keep their metrics.
    """
    server = _server(settings, url, listen_url)
    gc.freeze()  # what is there now stays, and stays shared memory between processes
    gc.set_threshold(20_000)  # new objects between two collections; at 700 they took a quarter of a webhook's time
    on_ready()
    if counters is None:
        server.run_until_stopped([listening])
        return
    # Drop a dead process's gauges from the metrics; its counters stay in the sums.
    forget_gauges = partial(mark_process_dead, path=counters)
    parent = fork_workers(workers, listening, stop_timeout=STOP_TIMEOUT, on_exit=forget_gauges)
    if parent is None:
        return
    configure_logging(names_process=True)
    server.parent = parent
    server.run_until_stopped([listening])


def _server(settings: Settings, url: str, listen_url: str | None) -> Server:
    engine = create_engine(url, pool_size=settings.database_pool_size)
    sessions = create_sessionmaker(engine)
    hub = Hub(sessions)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            running.push_async_callback(engine.dispose)
            running.push_async_callback(app.state.services.rate_limits.close)
            await running.enter_async_context(app.state.services.last_used.running())
            await running.enter_async_context(hub.running(listen_url))
            if settings.run_worker:
                await running.enter_async_context(running_worker(settings, sessions))
            yield

    app = create_app(settings, sessions, lifespan=lifespan, hub=hub)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),  # else any client could forge its address
        forwarded_allow_ips=list(settings.trusted_proxies),
        access_log=False,  # ours has the request id
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_TIMEOUT,
    )
    return Server(config, end_streams=hub.close)

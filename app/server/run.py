"""What `interviews serve` runs: the service on one socket, in one process or several."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.api_keys import ensure_bootstrap_key
from app.cli.migrate import bring_up_to_date
from app.cli.runtime import database_name, direct_url, fail, with_engine
from app.core.database import create_engine, create_sessionmaker, transaction
from app.core.logging import configure_logging
from app.core.settings import LOCAL_API_KEY, LOCAL_LIVEKIT_KEY, Settings
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.schedule import ensure_default_organization
from app.livekit.access_tokens import accept_secrets, signer_of
from app.main import create_app
from app.server.processes import fork_workers
from app.server.protocol import BoundedProtocol
from app.stream.hub import Hub
from app.worker.runner import running_worker

log = logging.getLogger(__name__)

DRAIN = 10  # seconds that requests under way get when the service stops
LAST = 30.0  # seconds that a process gets in all: its worker finishes what it has begun
NOT_STARTED = 3  # uvicorn's own exit code


class Server(uvicorn.Server):
    """Ends the streams before it waits for the requests under way."""

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self.parent: int | None = None
        """A file that can be read as soon as the process that watches over this one is dead."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.parent is not None:
            asyncio.get_running_loop().add_reader(self.parent, self._stop_after_parent, self.parent)

    def _stop_after_parent(self, parent: int) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        log.error("the parent process is gone, and nobody would replace this one: it stops")
        os.kill(os.getpid(), signal.SIGTERM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)

    def run_until_stopped(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn.run does: Ctrl-C is an ordinary end, and a server that could not start exits."""
        with suppress(KeyboardInterrupt):
            self.run(sockets)
        if not self.started:
            sys.exit(NOT_STARTED)


def run(settings: Settings, url: str, *, workers: int, counters: str | None) -> None:
    """Migrate, prepare, then serve until told to stop. `counters`: the folder in which several processes count."""
    accept_secrets(settings)
    bring_up_to_date(settings, url)
    has_demo = with_engine(url, lambda engine: _prepare(settings, engine))
    server = _server(settings, url)
    greeting = _greeting(settings, url, has_demo=has_demo)
    gc.freeze()  # what stays is not looked at again; and it stays shared memory, where there are several processes
    gc.set_threshold(20_000)  # new objects between two looks; with 700 it took a quarter of the time of a webhook
    if counters is None:
        print(greeting, flush=True)
        server.run_until_stopped()
        return
    listening = _listen(settings)
    print(greeting, flush=True)
    parent = fork_workers(workers, listening, within=LAST, gone=lambda pid: _forget_gauges(pid, counters))
    if parent is None:
        return
    configure_logging(names_process=True)
    server.parent = parent
    server.run_until_stopped([listening])


def _listen(settings: Settings) -> socket.socket:
    """Return the socket that all processes take connections from, as uvicorn makes it for one."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        fail(f"Nobody can listen on {settings.host}, port {settings.port}: {error}")


def _forget_gauges(pid: int, counters: str) -> None:
    """What a process had counted stays in the sums; what it had open is gone with it."""
    mark_process_dead(pid, counters)  # type: ignore[no-untyped-call]


def _server(settings: Settings, url: str) -> Server:
    engine = create_engine(url, pool_size=settings.database_pool_size)
    sessions = create_sessionmaker(engine)
    hub = Hub(sessions)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            running.push_async_callback(engine.dispose)
            running.push_async_callback(app.state.services.rate_limits.close)
            await running.enter_async_context(app.state.services.last_used.running())
            await running.enter_async_context(hub.running(direct_url(settings, url)))
            if settings.run_worker:
                await running.enter_async_context(running_worker(settings, sessions, settings.timeouts))
            yield

    app = create_app(settings, sessions, lifespan=lifespan, hub=hub)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=bool(settings.trusted_proxies),  # else anybody could say which address is whose
        forwarded_allow_ips=list(settings.trusted_proxies),
        access_log=False,  # ours names the request
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN,
    )
    return Server(config, end_streams=hub.close)


async def _prepare(settings: Settings, engine: AsyncEngine) -> bool:
    """Return whether the demo interview can be joined."""
    async with transaction(create_sessionmaker(engine)) as session:
        organization_id = await ensure_default_organization(session)
        key = settings.bootstrap_api_key.get_secret_value()
        await ensure_bootstrap_key(session, organization_id=organization_id, key=key)
        if not settings.is_local:
            return False
        return await ensure_demo(
            session, organization_id=organization_id, now=datetime.now(UTC), signer=signer_of(settings)
        )


def _greeting(settings: Settings, url: str, *, has_demo: bool) -> str:
    """Return what a newcomer needs to know."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not listened on
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{settings.port}"
    lines = [
        f"Interviews        {address}    (API: {address}/docs)",
        f"Database          {database_name(settings, url)}",
        f"LiveKit           {settings.livekit_url} with the key {settings.livekit_api_key};",
        f"                  its webhooks are to go to {address}/webhooks/livekit",
    ]
    if settings.livekit_api_key == LOCAL_LIVEKIT_KEY:
        lines.append("                  start one with: livekit-server --dev --config deploy/livekit.local.yaml")
    if settings.bootstrap_api_key.get_secret_value() == LOCAL_API_KEY:
        lines.append(f"Recruiter's key   {LOCAL_API_KEY}")
    if has_demo:
        lines += [
            f"Demo interview    {DEMO_ID}",
            f"Join it           curl -X POST {address}/interviews/{DEMO_ID}/join",
        ]
    return "\n" + "\n".join(lines) + "\n"

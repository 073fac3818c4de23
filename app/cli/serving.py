"""interviews serve | worker | migrate."""

import argparse
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.protocol import BoundedProtocol
from app.auth import ensure_bootstrap_key
from app.cli.running import Commands, database_name, with_engine, with_sessions
from app.config import LOCAL_API_KEY, LOCAL_LIVEKIT_KEY, Settings
from app.db import create_engine, create_sessionmaker, transaction
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.feed import renumber_restored
from app.interviews.schedule import ensure_default_organization
from app.main import create_app, signer_of, waits_of
from app.schema import migrate
from app.server import Server
from app.stream.hub import Hub
from app.worker.running import work_alone, working

DRAIN = 10  # seconds that requests under way get when the service stops


def add_commands(commands: Commands) -> None:
    for name, run, told in (
        ("serve", serve, "migrate, then listen on HOST:PORT"),
        ("migrate", migrate_only, "bring the database's schema up to the code's"),
        ("worker", worker, "deadlines, wishes, reconciling, without the API"),
    ):
        commands.add_parser(name, help=told).set_defaults(run=run, makes_database=True)


def serve(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Migrate, see to the first organization, its key and the demo interview, then serve until told to stop."""
    has_demo = with_engine(url, lambda engine: _prepare(settings, engine))
    engine = create_engine(url)
    sessions = create_sessionmaker(engine)
    hub = Hub(sessions)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            running.push_async_callback(engine.dispose)
            await running.enter_async_context(hub.running(_listen_url(settings, url)))
            if settings.run_worker:
                await running.enter_async_context(working(settings, sessions, waits_of(settings)))
            yield

    app = create_app(settings, sessions, lifespan=lifespan, hub=hub)
    print(_greeting(settings, url, has_demo=has_demo), flush=True)
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
    _spare_the_collector()
    Server(config, end_streams=hub.close).run_until_stopped()


def _spare_the_collector() -> None:
    """Let Python's collector pass by what is loaded for good: it took a quarter of the time, in pauses of 0.1 s."""
    gc.freeze()
    gc.set_threshold(20_000)  # new objects between two looks at the youngest; 700 are gone within one webhook


def _listen_url(settings: Settings, url: str) -> str:
    return settings.database_listen_url.get_secret_value() if settings.database_listen_url else url


def worker(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Work without the API, until told to stop."""
    with_sessions(url, lambda sessions: work_alone(settings, sessions, waits_of(settings)))


def migrate_only(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Migrate and stop."""
    with_engine(url, _migrate)
    print(f"The schema of {database_name(settings, url)} is up to date.")


async def _migrate(engine: AsyncEngine) -> None:
    await migrate(engine)
    async with transaction(create_sessionmaker(engine)) as session:
        if await renumber_restored(session):
            print("This database comes from another server: positions that the stream gave there are refused.")


async def _prepare(settings: Settings, engine: AsyncEngine) -> bool:
    """Return whether the demo interview can be joined."""
    await _migrate(engine)
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

"""interviews serve | worker | migrate | audit | doctor | simulate."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn, TypeVar

import asyncpg
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.protocol import BoundedProtocol
from app.auth import ensure_bootstrap_key
from app.config import LOCAL_API_KEY, LOCAL_LIVEKIT_KEY, Settings, faults_of
from app.db import create_engine, create_sessionmaker, masked, transaction
from app.doctor import Finding, State, examine, table
from app.embedded_postgres import EmbeddedPostgresError, embedded_postgres
from app.errors import DatabaseUnavailable, SchemaBehind
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.schedule import ensure_default_organization
from app.livekit import allow_short_secrets
from app.logs import configure_logging
from app.main import create_app, signer_of, waits_of
from app.schema import check_schema, migrate
from app.simulation import run as simulation
from app.worker.audit import audit
from app.worker.running import work_alone, working

Result = TypeVar("Result")

DRAIN = 10  # seconds that requests under way get when the service stops


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="interviews", description="LiveKit interviews, and a status that is true.")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("serve", help="migrate, then listen on HOST:PORT").set_defaults(run=serve)
    commands.add_parser("migrate", help="bring the database's schema up to the code's").set_defaults(run=migrate_only)
    commands.add_parser("worker", help="deadlines, wishes, reconciling, without the API").set_defaults(run=worker)
    audit = commands.add_parser("audit", help="derive every status again from its facts and compare")
    audit.add_argument("--since", type=_instant, help="only those changed since, as 2026-11-22T09:00:00Z")
    audit.set_defaults(run=audit_all)
    checked = commands.add_parser("doctor", help="check a running set-up: database, LiveKit, clocks, keys, webhooks")
    checked.add_argument("--json", action="store_true", help="for scripts: {ok, findings: [{what, state, seen, todo}]}")
    checked.set_defaults(run=doctor)
    simulate = commands.add_parser("simulate", help="try a deployment with interviews whose truth is known")
    simulation.add_arguments(simulate)
    simulate.set_defaults(simulate=True)
    arguments = parser.parse_args()
    if hasattr(arguments, "simulate"):  # speaks to a deployment, and needs neither its settings nor its database
        sys.exit(simulation.main(arguments))
    settings = _read_settings()
    configure_logging()
    if settings.is_local:
        allow_short_secrets()
    # uvicorn raises the signal again when it is done; as SystemExit it lets the embedded Postgres be stopped.
    signal.signal(signal.SIGTERM, _exit)
    try:
        with _database(settings) as url:
            arguments.run(settings, url, arguments)
    except EmbeddedPostgresError as error:
        _fail(f"The embedded Postgres can't be had: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def serve(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Migrate, see to the first organization, its key and the demo interview, then serve until told to stop."""
    has_demo = _with_engine(url, lambda engine: _prepare(settings, engine))
    engine = create_engine(url)
    sessions = create_sessionmaker(engine)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            running.push_async_callback(engine.dispose)
            if settings.run_worker:
                await running.enter_async_context(working(settings, sessions, waits_of(settings)))
            yield

    app = create_app(settings, sessions, lifespan=lifespan)
    print(_greeting(settings, url, has_demo=has_demo), flush=True)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=BoundedProtocol,
        ws="none",
        access_log=False,  # ours names the request
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN,
    )


def worker(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Work without the API, until told to stop."""

    async def work(engine: AsyncEngine) -> None:
        sessions = create_sessionmaker(engine)
        async with transaction(sessions) as session:
            await check_schema(session)
        await work_alone(settings, sessions, waits_of(settings))

    _with_engine(url, work)


def audit_all(settings: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Print what is stored otherwise than derived; exit 1 if anything is."""

    async def find(engine: AsyncEngine) -> int:
        found = 0
        async for each in audit(create_sessionmaker(engine), waits=waits_of(settings), since=arguments.since):
            print(f"{each.interview_id} {each.field}: {each.stored}, by its {each.account} {each.expected}")
            found += 1
        return found

    found = _with_engine(url, find)
    print(f"{found} differences")
    if found:
        sys.exit(1)


def doctor(settings: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Print what is found; exit 1 on a fault. A database that is away is one of its findings."""

    async def look() -> list[Finding]:
        engine = create_engine(url)
        try:
            found = examine(settings, create_sessionmaker(engine), signer=signer_of(settings), now=datetime.now(UTC))
            return await found
        finally:
            await engine.dispose()

    findings = asyncio.run(look())
    is_ok = all(finding.state is not State.FAULT for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": is_ok, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print(table(findings))
    if not is_ok:
        sys.exit(1)


def migrate_only(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Migrate and stop."""
    _with_engine(url, migrate)
    print(f"The schema of {_name(settings, url)} is up to date.")


async def _prepare(settings: Settings, engine: AsyncEngine) -> bool:
    """Return whether the demo interview can be joined."""
    await migrate(engine)
    async with transaction(create_sessionmaker(engine)) as session:
        organization_id = await ensure_default_organization(session)
        key = settings.bootstrap_api_key.get_secret_value()
        await ensure_bootstrap_key(session, organization_id=organization_id, key=key)
        if not settings.is_local:
            return False
        return await ensure_demo(
            session, organization_id=organization_id, now=datetime.now(UTC), signer=signer_of(settings)
        )


def _with_engine(url: str, work: Callable[[AsyncEngine], Awaitable[Result]]) -> Result:
    """Run the work on an engine of its own, in an event loop of its own; say so when the database is away."""

    async def run() -> Result:
        engine = create_engine(url)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except SchemaBehind as error:
        _fail(f"{error.title}. {error.sentence}")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError, DatabaseUnavailable) as error:
        cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
        _fail(f"The database {masked(url)} can't be used: {cause}\nStart it, or correct DATABASE_URL.")


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """Yield the URL of the configured database or, without one, of the embedded Postgres."""
    if settings.database_url:
        yield settings.database_url.get_secret_value()
        return
    with embedded_postgres(settings.data_dir / "postgres") as server:
        yield server.ensure_application_database()


def _name(settings: Settings, url: str) -> str:
    return masked(url) if settings.database_url else f"the embedded Postgres in {settings.data_dir / 'postgres'}"


def _read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        _fail("The settings are not complete:\n" + "\n".join(faults_of(error)))


def _greeting(settings: Settings, url: str, *, has_demo: bool) -> str:
    """Return what a newcomer needs to know."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not listened on
    host = f"[{host}]" if ":" in host else host
    address = f"http://{host}:{settings.port}"
    lines = [
        f"Interviews        {address}    (API: {address}/docs)",
        f"Database          {_name(settings, url)}",
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


def _instant(given: str) -> datetime:
    at = datetime.fromisoformat(given)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()

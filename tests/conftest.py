"""What every test can have: a migrated Postgres of its own, the app on it, callers with keys.

A test never touches a configured database: DATABASE_URL and .env are not looked at. TEST_DATABASE_URL points the tests
at another Postgres server, as a role that may create databases.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.auth.api_keys import ensure_bootstrap_key
from app.core import batching, database
from app.core.database import create_engine, create_sessionmaker
from app.core.embedded_postgres import FAST_AND_UNSAFE, embedded_postgres
from app.core.schema import migrate
from app.core.settings import Settings
from app.interviews.schedule import ensure_default_organization
from app.main import create_app
from app.models.base import Base

Result = TypeVar("Result")

TEMPLATE = "interviews_template"
API_KEY = "ik_test_0000000000000000000000000000000000"
LIVEKIT_KEY = "test-livekit-key"
LIVEKIT_SECRET = "test-livekit-secret-of-more-than-32-characters"  # noqa: S105 - of the tests alone
AUTHORIZED = {"Authorization": f"Bearer {API_KEY}"}
PATIENT = 60.0  # seconds

# Leaves the rows that the migrations leave.
EMPTY = "; ".join(
    [
        # a test that was interrupted may have left a session that holds locks
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        *(
            f"DELETE FROM {table}"  # noqa: S608 - names of our own
            for table in reversed(Base.metadata.sorted_tables)
            if table.name != "ticks"
        ),
        "UPDATE ticks SET last_run = DEFAULT",
    ]
)

# How long an example takes shows how busy the machine is.
hypothesis_settings.register_profile(
    "patient", hypothesis_settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests is not taken for a database that is away."""
    monkeypatch.setattr(database, "CONNECT_TIMEOUT", PATIENT)  # for a connection to the server, and for one of the pool
    monkeypatch.setattr(batching, "QUEUE_TIMEOUT", PATIENT)
    # A test's outer transaction may stay open, without a statement, for longer than a request's ever would.
    monkeypatch.setitem(database.SERVER_SETTINGS, "idle_in_transaction_session_timeout", "600000")  # milliseconds


def run_now(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine from synchronous code, whatever event loop pytest keeps in this thread."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server's maintenance database: one server for all of xdist's workers."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with embedded_postgres(shared / "postgres", FAST_AND_UNSAFE) as server:
        yield server.url()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a migrated database to copy; the first worker makes it, the others wait."""
    run_now(_make_template(postgres_url))
    return TEMPLATE


async def _make_template(postgres_url: str) -> None:
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute("SELECT pg_advisory_lock(1)")
        if await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate", TEMPLATE):
            return
        await admin.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
        await admin.execute(f"CREATE DATABASE {TEMPLATE}")
        engine = create_engine(database_url(postgres_url, TEMPLATE))
        await migrate(engine)
        await engine.dispose()
        await admin.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")  # says that it is complete
    finally:
        await admin.close()


def database_url(postgres_url: str, name: str) -> str:
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def new_database(postgres_url: str, template: str) -> Iterator[Callable[[], str]]:
    """Make migrated databases, dropped when the worker is done. A copy takes some 20 ms."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{uuid.uuid4().hex}"
        made.append(name)
        run_now(_execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
        return database_url(postgres_url, name)

    yield make
    for name in made:
        run_now(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def worker_database(new_database: Callable[[], str]) -> str:
    """A database that the tests of one worker share: each leaves it as it was."""
    return new_database()


@pytest.fixture
def own_database(new_database: Callable[[], str]) -> str:
    """A database for one test, which may commit to it: for races, restarts and outages."""
    return new_database()


@pytest.fixture
def settings() -> Settings:
    return make_settings()


def make_settings(**changed: Any) -> Settings:
    """Return settings as of a test deployment; neither the environment nor .env has a say."""
    given: dict[str, Any] = {
        "environment": "local",
        "host": "127.0.0.1",
        "port": 8000,
        "data_dir": Path(".data"),
        "database_url": None,
        "database_listen_url": None,
        "database_pool_size": 5,
        "workers": 1,
        "livekit_url": "ws://127.0.0.1:7880",
        "livekit_api_key": LIVEKIT_KEY,
        "livekit_api_secret": LIVEKIT_SECRET,
        "livekit_previous_keys": {},
        "agent_name": "",
        "join_policy": "open",
        "invite_url": "",
        "client_metadata_updates": False,
        "allowed_origins": (),
        "trusted_proxies": (),
        "bootstrap_api_key": API_KEY,
        "livekit_api_url": None,
        "rate_limit_per_address": "none",
        "rate_limit_per_key": "none",
        "rate_limit_storage_url": "memory://",
        "run_worker": True,
        "dispatch_after": 30,
        "token_wait": 120,
        "candidate_waited": 30,
        "goodbye": 10,
        "reconcile_every": 30,
        "candidate_grace": 120,
        "agent_wait": 90,
        "webhook_allow_private": None,
        "personal_data_retention_days": None,
    }
    return Settings(_env_file=None, **given | changed)


@pytest.fixture(scope="session")
def worker_engine(worker_database: str) -> AsyncEngine:
    """One engine for all tests of a worker, so that SQLAlchemy compiles each statement once."""
    return create_engine(worker_database)


@pytest.fixture
async def sessions(worker_engine: AsyncEngine) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Real transactions, as savepoints of one outer transaction that is rolled back at the end."""
    async with worker_engine.connect() as connection:
        outer = await connection.begin()
        bound = async_sessionmaker(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
        await prepare(bound)
        yield bound
        await outer.rollback()
    await worker_engine.dispose()  # its connections belong to this test's event loop


@pytest.fixture
async def own_engine(own_database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(own_database)
    await prepare(create_sessionmaker(engine))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
def shared_database(new_database: Callable[[], str]) -> str:
    """A database that the tests of one worker commit to, one after the other."""
    return new_database()


@pytest.fixture(scope="session")
def shared_engine(shared_database: str) -> AsyncEngine:
    return create_engine(shared_database)


@pytest.fixture
async def emptied_engine(shared_database: str, shared_engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """Like own_engine, in a tenth of the time: for tests that commit few rows and leave the schema as it is."""
    await _execute(shared_database, EMPTY)
    await prepare(create_sessionmaker(shared_engine))
    yield shared_engine
    await shared_engine.dispose()  # its connections belong to this test's event loop


async def prepare(sessions: async_sessionmaker[AsyncSession]) -> None:
    """Make the default organization and the tests' API key."""
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        await ensure_bootstrap_key(session, organization_id=organization_id, key=API_KEY)


@pytest.fixture
def app(settings: Settings, sessions: async_sessionmaker[AsyncSession]) -> FastAPI:
    return create_app(settings, sessions)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Call the app in this process, without a key."""
    async with client_of(app) as client:
        yield client


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


def pytest_configure() -> None:
    """Take Ctrl-C as on a terminal: where a shell runs the tests in its background, their processes would ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the end-to-end tests that ran, where REQUIRE_E2E=1 says that all of them must."""
    if os.environ.get("REQUIRE_E2E") != "1":
        return
    ran = [report.nodeid for report in terminalreporter.getreports("passed") if "tests/e2e/" in report.nodeid]
    terminalreporter.section("end-to-end tests that passed")
    for name in sorted(ran) or ["none"]:
        terminalreporter.line(name)

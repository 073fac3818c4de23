"""What the commands share: the settings, the database, and how they fail."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias, TypeVar

import asyncpg
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_engine, create_sessionmaker, is_pooled, masked, transaction
from app.core.embedded_postgres import embedded_postgres
from app.core.errors import BootstrapKeyTaken, DatabaseUnavailable, SchemaBehind
from app.core.schema import check_schema
from app.core.settings import Settings, faults_of

Result = TypeVar("Result")
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no other name


def with_engine(url: str, work: Callable[[AsyncEngine], Awaitable[Result]]) -> Result:
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
        fail(f"{error.title}. {error.sentence}")
    except BootstrapKeyTaken as error:
        fail(str(error))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError, DatabaseUnavailable) as error:
        cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
        fail(f"The database {masked(url)} can't be used: {cause}\nStart it, or correct DATABASE_URL.")


def with_sessions(url: str, work: Callable[[async_sessionmaker[AsyncSession]], Awaitable[Result]]) -> Result:
    """Run the work on a database whose schema is not behind the code."""

    async def checked(engine: AsyncEngine) -> Result:
        sessions = create_sessionmaker(engine)
        async with transaction(sessions) as session:
            await check_schema(session)
        return await work(sessions)

    return with_engine(url, checked)


@contextmanager
def database(settings: Settings, *, make: bool) -> Iterator[str]:
    """Yield the URL of the configured database or, without one, of the embedded Postgres, made if need be."""
    if settings.database_url:
        yield settings.database_url.get_secret_value()
        return
    if not make and not (settings.data_dir / "postgres").exists():
        where = settings.data_dir / "postgres"
        fail(f"There is no database in {where}. Start 'interviews serve' here, or give its DATA_DIR or DATABASE_URL.")
    with embedded_postgres(settings.data_dir / "postgres") as server:
        yield server.ensure_application_database()


def direct_url(settings: Settings, url: str) -> str | None:
    """Return the database's URL without a transaction pooler between: LISTEN and migrations pass none."""
    if settings.database_listen_url:
        return settings.database_listen_url.get_secret_value()
    return None if is_pooled(url) else url


def database_name(settings: Settings, url: str) -> str:
    return masked(url) if settings.database_url else f"the embedded Postgres in {settings.data_dir / 'postgres'}"


def read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        fail("The settings are not complete:\n" + "\n".join(faults_of(error)))


def instant(given: str) -> datetime:
    """Return the instant that is meant; without a time zone, as UTC."""
    at = datetime.fromisoformat(given)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(1)

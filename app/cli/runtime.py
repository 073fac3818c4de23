"""Shared by the commands: reading the settings, connecting to the database, failing with a message."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias, TypeVar

import asyncpg
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_engine, create_sessionmaker, is_pooled, masked, reason_of, transaction
from app.core.embedded_postgres import embedded_postgres, has_cluster
from app.core.errors import BootstrapKeyTaken, DatabaseUnavailable, SchemaBehind
from app.core.misspelled_settings import find_misspellings
from app.core.schema import check_schema
from app.core.settings import ENV_FILE, Settings, faults_of
from app.core.visible_text import shows_something

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=Settings)
Sessions = async_sessionmaker[AsyncSession]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no other name


def with_engine(url: str, work: Callable[[AsyncEngine], Awaitable[Result]]) -> Result:
    """Run the work with an engine, in a new event loop; exit with a message if the database fails."""

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
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, SQLAlchemyError, DatabaseUnavailable) as error:
        fail(f"The database {masked(url)} can't be used: {reason_of(error)}\nStart it, or correct DATABASE_URL.")


def with_sessions(url: str, work: Callable[[Sessions], Awaitable[Result]]) -> Result:
    """Run the work with a sessionmaker; exit with a message if the schema is older than the code."""

    async def checked(engine: AsyncEngine) -> Result:
        sessions = create_sessionmaker(engine)
        async with transaction(sessions) as session:
            await check_schema(session)
        return await work(sessions)

    return with_engine(url, checked)


@contextmanager
def database(settings: Settings, *, make: bool) -> Iterator[str]:
    """Yield the URL of the configured database or, without one, of the embedded Postgres; `make`: create that."""
    if settings.database_url:
        yield settings.database_url.get_secret_value()
        return
    folder = settings.data_dir / "postgres"
    if not make and not folder.exists():
        fail(f"There is no database in {folder}. Run 'interviews serve' here, or set its DATA_DIR or DATABASE_URL.")
    if not has_cluster(folder):
        print(f"Making the database in {folder}; it takes a few seconds, this once ...", flush=True)
    with embedded_postgres(folder) as server:
        yield server.ensure_application_database()


def direct_url(settings: Settings, url: str) -> str | None:
    """Return a URL that bypasses a transaction pooler, for LISTEN and migrations; None if none is configured."""
    if settings.database_listen_url:
        return settings.database_listen_url.get_secret_value()
    return None if is_pooled(url) else url


def database_name(settings: Settings, url: str) -> str:
    return masked(url) if settings.database_url else f"the embedded Postgres in {settings.data_dir / 'postgres'}"


def read_settings(kind: type[Kind]) -> Kind:
    """Return the settings; exit with one message that names all faults."""
    try:
        misspellings = find_misspellings()
        settings, faults = _read(kind)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        fail(f"{ENV_FILE} can't be read: {why}")
    if settings is None or misspellings.faults:
        fail("The settings are not valid:\n" + "\n".join([*misspellings.faults, *faults]))
    for warning in misspellings.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    return settings


def _read(kind: type[Kind]) -> tuple[Kind | None, list[str]]:
    """Return the settings, or None and their faults."""
    try:
        return kind(), []
    except ValidationError as error:
        return None, faults_of(error, kind)


def instant(text: str) -> datetime:
    """Return the instant of an ISO 8601 argument; without a time zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be an instant, such as 2026-11-22T09:00:00Z") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def positive_count(text: str) -> int:
    """Return the number of an argument that counts something."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError("must be an integer of 1 or more")
    return int(text)


def visible_text(text: str) -> str:
    """Return an argument that people read later, such as a name."""
    if not shows_something(text):
        raise argparse.ArgumentTypeError("must have a character that can be seen")
    return text


def fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(1)

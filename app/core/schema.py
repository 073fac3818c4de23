"""The database schema: migrates it with Alembic, and checks that it is not behind the code."""

import asyncio
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

import app
from app.core.errors import SchemaBehind

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(app.__file__).parent.with_name("migrations")  # beside app/, in the wheel too
LOCK = 7_355_608_001  # the advisory lock of the process that migrates
PAUSE = 0.1  # seconds between attempts to get the lock


def alembic_config() -> "Config":
    # imported here and below, because Alembic is slow to import and needed only for a schema that is behind
    from alembic.config import Config

    config = Config()  # not alembic.ini, which the wheel lacks
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


async def migrate(engine: AsyncEngine) -> None:
    """Migrate the schema to the code's revision. Safe to call from several processes at once."""
    async with engine.connect() as connection:
        if not await _is_behind(connection):
            return
        await connection.rollback()
        # a migration may take long
        await connection.execute(text("SET statement_timeout = 0"))
        await connection.execute(text("SET lock_timeout = 0"))
        await _acquire_lock(connection)
        try:
            if await _is_behind(connection):  # another process may have migrated meanwhile
                await connection.rollback()
                await connection.run_sync(_upgrade)
                await connection.commit()
        finally:
            await connection.invalidate()  # releases the lock and drops the settings, also after an error


async def _acquire_lock(connection: AsyncConnection) -> None:
    """Poll for the lock, with no open snapshot: CREATE INDEX CONCURRENTLY would wait for it, a deadlock."""
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        await connection.commit()
        await asyncio.sleep(PAUSE)
    await connection.commit()


def _upgrade(connection: Connection) -> None:
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def check_schema(session: AsyncSession) -> None:
    """Raise SchemaBehind if the database lacks a migration of the code."""
    if await _is_behind(session):
        raise SchemaBehind


async def _is_behind(database: AsyncConnection | AsyncSession) -> bool:
    """Return whether the database lacks a migration of the code.

    A database that is ahead is fine: during a deployment older processes go on, or restart, after newer code migrated.
    """
    if await database.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return True
    current = await database.scalar(text("SELECT version_num FROM alembic_version"))
    return current is None or (current in revisions() and current != head())


@cache
def revisions() -> dict[str, str | None]:
    """Return each revision of the code and its predecessor, read from the migrations without importing them."""
    migrations = [path.read_text() for path in (MIGRATIONS / "versions").glob("*.py")]
    return {_constant("revision", source): _constant("down_revision", source) or None for source in migrations}


@cache
def head() -> str:
    """Return the newest revision of the code."""
    (newest,) = revisions().keys() - revisions().values()
    return newest


def _constant(name: str, source: str) -> str:
    match = re.search(rf'^{name} = (?:"(.+)"|None)$', source, re.MULTILINE)
    if match is None:
        raise ValueError(f"a migration has no {name}")
    return match[1] or ""

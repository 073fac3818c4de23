"""The database's schema: brought up to the code's by Alembic's migrations, and compared with it."""

import asyncio
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from app.errors import SchemaBehind

ROOT = Path(__file__).parent.parent
LOCK = 7_355_608_001  # any number, the same in every process: one migrates, the others wait
PAUSE = 0.1  # seconds


def alembic_config() -> Config:
    return Config(ROOT / "alembic.ini")


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema up to the code's. Several processes may call it at once."""
    async with engine.connect() as connection:
        # another process may take long to migrate
        await connection.execute(text("SET statement_timeout = 0"))
        await connection.execute(text("SET lock_timeout = 0"))
        await _take_turn(connection)
        try:
            await connection.run_sync(_upgrade)
            await connection.commit()
        finally:
            await connection.invalidate()  # gives up the lock and the settings, whatever has happened


async def _take_turn(connection: AsyncConnection) -> None:
    """Wait for the lock, without a snapshot: an index that is built concurrently would wait for the waiting."""
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        await connection.commit()
        await asyncio.sleep(PAUSE)
    await connection.commit()


def _upgrade(connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    known, _ = _revisions()
    if current and current not in known:
        return  # newer code has migrated already: during a deployment an older process may start again
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def check_schema(session: AsyncSession) -> None:
    """Raise SchemaBehind if the code has a migration that the database has not.

    A database that is ahead is fine: during a deployment the older processes go on for a while.
    """
    if await session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        raise SchemaBehind
    current = await session.scalar(text("SELECT version_num FROM alembic_version"))
    known, head = _revisions()
    if current is None or (current in known and current != head):
        raise SchemaBehind


@cache
def _revisions() -> tuple[frozenset[str], str | None]:
    scripts = ScriptDirectory.from_config(alembic_config())
    return frozenset(script.revision for script in scripts.walk_revisions()), scripts.get_current_head()

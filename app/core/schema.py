"""The database's schema: brought up to the code's by Alembic's migrations, and compared with it."""

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
LOCK = 7_355_608_001  # any number, the same in every process: one migrates, the others wait
PAUSE = 0.1  # seconds


def alembic_config() -> "Config":
    # not at the top, here and below: Alembic is needed only where the schema is behind, and takes long to import
    from alembic.config import Config

    config = Config()  # not alembic.ini, which no wheel holds
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema up to the code's. Several processes may call it at once."""
    async with engine.connect() as connection:
        if not await _is_behind(connection):
            return
        await connection.rollback()
        # another process may take long to migrate
        await connection.execute(text("SET statement_timeout = 0"))
        await connection.execute(text("SET lock_timeout = 0"))
        await _take_turn(connection)
        try:
            if await _is_behind(connection):  # still: whoever had the lock before has migrated
                await connection.rollback()
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
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def check_schema(session: AsyncSession) -> None:
    """Raise SchemaBehind if the code has a migration that the database has not."""
    if await _is_behind(session):
        raise SchemaBehind


async def _is_behind(database: AsyncConnection | AsyncSession) -> bool:
    """Tell whether the code has a migration that the database has not.

    A database that is ahead is fine: newer code has migrated it, and during a deployment the older processes go on for
    a while, or start again.
    """
    if await database.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return True
    current = await database.scalar(text("SELECT version_num FROM alembic_version"))
    return current is None or (current in revisions() and current != head())


@cache
def revisions() -> dict[str, str | None]:
    """Return the code's revisions and what each comes after, as read from the migrations without running them."""
    migrations = [path.read_text() for path in (MIGRATIONS / "versions").glob("*.py")]
    return {_assigned("revision", each): _assigned("down_revision", each) or None for each in migrations}


@cache
def head() -> str:
    """Return the code's newest revision."""
    (newest,) = revisions().keys() - revisions().values()
    return newest


def _assigned(name: str, migration: str) -> str:
    found = re.search(rf'^{name} = (?:"(.+)"|None)$', migration, re.MULTILINE)
    if found is None:
        raise ValueError(f"a migration does not say its {name}")
    return found[1] or ""

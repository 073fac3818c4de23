"""interviews migrate."""

import argparse

from sqlalchemy.ext.asyncio import AsyncEngine

from app.cli.runtime import Commands, database_name, direct_url, fail, with_engine
from app.core.database import create_sessionmaker, transaction
from app.core.errors import SchemaBehind
from app.core.schema import check_schema, migrate
from app.core.settings import DatabaseSettings, Settings
from app.stream.feed import renumber_restored


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("migrate", help="migrate the database to this version's schema")
    command.set_defaults(run=migrate_only, makes_database=True, settings=DatabaseSettings)


def migrate_only(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Migrate, and exit."""
    bring_up_to_date(settings, url)
    print(f"The schema of {database_name(settings, url)} is up to date.")


def bring_up_to_date(settings: Settings, url: str) -> None:
    """Migrate, and handle a database that was restored on another server."""
    direct = direct_url(settings, url)
    if direct is None:  # a migration needs a session: its lock and settings outlive transactions
        with_engine(url, _refuse_behind)
    with_engine(direct or url, _migrate)


async def _refuse_behind(engine: AsyncEngine) -> None:
    try:
        async with transaction(create_sessionmaker(engine)) as session:
            await check_schema(session)
    except SchemaBehind:
        fail("The schema is behind. Migrations need a direct connection, not a pooler: set DATABASE_LISTEN_URL.")


async def _migrate(engine: AsyncEngine) -> None:
    await migrate(engine)
    async with transaction(create_sessionmaker(engine)) as session:
        if await renumber_restored(session):
            print("This database was restored from another server. Stream positions issued there are refused.")

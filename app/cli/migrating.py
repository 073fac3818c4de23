"""interviews migrate."""

import argparse

from sqlalchemy.ext.asyncio import AsyncEngine

from app.cli.running import Commands, database_name, with_engine
from app.config import Settings
from app.db import create_sessionmaker, transaction
from app.interviews.feed import renumber_restored
from app.schema import migrate


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("migrate", help="bring the database's schema up to the code's")
    command.set_defaults(run=migrate_only, makes_database=True)


def migrate_only(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Migrate and stop."""
    with_engine(url, bring_up_to_date)
    print(f"The schema of {database_name(settings, url)} is up to date.")


async def bring_up_to_date(engine: AsyncEngine) -> None:
    """Migrate, and see whether the database was moved to another server meanwhile."""
    await migrate(engine)
    async with transaction(create_sessionmaker(engine)) as session:
        if await renumber_restored(session):
            print("This database comes from another server: positions that the stream gave there are refused.")

"""Runs the migrations on the connection that app.core.schema hands over, or on DATABASE_URL for `alembic` itself."""

import asyncio
import os
from typing import Any

from alembic import context
from sqlalchemy import Connection

import app.models  # noqa: F401 - the tables register themselves with Base.metadata
from app.core.database import create_engine
from app.models.base import Base


def run(**where: Any) -> None:
    context.configure(target_metadata=Base.metadata, compare_server_default=True, **where)
    with context.begin_transaction():
        # A migration that waits for a lock blocks everybody behind it: it gives up and is tried again.
        context.execute("SET lock_timeout = '4s'")
        context.execute("SET statement_timeout = '15min'")
        context.run_migrations()


def run_on(connection: Connection) -> None:
    run(connection=connection)


async def run_on_database_url() -> None:
    engine = create_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        await connection.run_sync(run_on)
        await connection.commit()
    await engine.dispose()


if context.is_offline_mode():
    run(dialect_name="postgresql", literal_binds=True)
elif given := context.config.attributes.get("connection"):
    run_on(given)
else:
    asyncio.run(run_on_database_url())

"""Migrations: there and back, by two processes at once, and without drift from the models."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_engine, create_sessionmaker
from app.core.errors import SchemaBehind
from app.core.schema import alembic_config, check_schema, migrate, revisions
from app.core.schema import head as code_head
from app.core.settings import Settings
from app.main import create_app
from app.models.base import Base
from tests.conftest import client_of


@pytest.fixture
async def engine(own_database: str) -> AsyncIterator[AsyncEngine]:
    """A migrated database of the test's own."""
    engine = create_engine(own_database)
    yield engine
    await engine.dispose()


async def alembic(engine: AsyncEngine, what: Callable[[Config, str], None], revision: str) -> None:
    def run(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        what(config, revision)

    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()


async def inspected(engine: AsyncEngine) -> dict[str, Any]:
    """Return the tables as the database describes them."""

    def look(connection: Connection) -> dict[str, Any]:
        found = inspect(connection)
        found.clear_cache()
        return {
            table: {
                "columns": [{**each, "type": str(each["type"])} for each in found.get_columns(table)],
                "indexes": sorted(found.get_indexes(table), key=str),
                "checks": sorted(found.get_check_constraints(table), key=str),
                "foreign": sorted(found.get_foreign_keys(table), key=str),
                "unique": sorted(found.get_unique_constraints(table), key=str),
            }
            for table in found.get_table_names()
        }

    async with engine.connect() as connection:
        return await connection.run_sync(look)


async def set_version(engine: AsyncEngine, version: str | None) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        if version is not None:
            await connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})


async def head(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        return str(await connection.scalar(text("SELECT version_num FROM alembic_version")))


async def test_up_down_and_up_again(engine: AsyncEngine) -> None:
    up = await inspected(engine)
    assert up.keys() == {*Base.metadata.tables, "alembic_version"}
    await alembic(engine, command.downgrade, "base")
    assert (await inspected(engine)).keys() == {"alembic_version"}
    await migrate(engine)
    assert await inspected(engine) == up


async def test_each_downgrade_can_be_upgraded_again(engine: AsyncEngine) -> None:
    up = await inspected(engine)
    for steps in (1, 2):
        for _ in range(steps):
            await alembic(engine, command.downgrade, "-1")
        await migrate(engine)
        assert await inspected(engine) == up


async def test_the_migrations_match_the_models(engine: AsyncEngine) -> None:
    """As `alembic check` does."""

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(compare) == []


async def test_the_migrations_make_the_checks_and_indexes_that_the_models_say(engine: AsyncEngine) -> None:
    """`alembic check` compares neither checks nor the conditions of indexes: those with the statuses, for example."""
    # Without the names of checks: the older migrations' have the prefix of the naming convention twice.
    definitions = text("""
        SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE contype = 'c' AND connamespace = current_schema()::regnamespace
        UNION ALL
        SELECT tablename, replace(indexdef, current_schema() || '.', '') FROM pg_indexes
        WHERE schemaname = current_schema() AND tablename <> 'alembic_version'
    """)
    async with engine.connect() as connection:
        migrated = {(table, definition) for table, definition in await connection.execute(definitions)}
        await connection.execute(text("CREATE SCHEMA of_models"))
        await connection.execute(text("SET search_path TO of_models, public"))
        await connection.run_sync(Base.metadata.create_all, checkfirst=False)
        modelled = {(table, definition) for table, definition in await connection.execute(definitions)}
    assert migrated - modelled == set()
    assert modelled - migrated == set()


async def test_two_processes_migrate_at_once(engine: AsyncEngine, own_database: str) -> None:
    up = await inspected(engine)
    await alembic(engine, command.downgrade, "base")
    others = [create_engine(own_database) for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(each) for each in others))
    finally:
        for each in others:
            await each.dispose()
    assert await inspected(engine) == up


async def test_migrating_again_changes_nothing_and_leaves_no_lock(engine: AsyncEngine) -> None:
    up = await inspected(engine)
    await migrate(engine)
    assert await inspected(engine) == up
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database"
                 " WHERE datname = current_database())")  # fmt: skip
    async with engine.connect() as connection:
        assert await connection.scalar(locks) == 0
        assert await connection.scalar(text("SHOW statement_timeout")) == "8s"


async def test_a_schema_that_is_up_to_date_or_ahead_is_fine(engine: AsyncEngine) -> None:
    async with create_sessionmaker(engine)() as session:
        await check_schema(session)
    await set_version(engine, "2099_from_the_next_release")
    async with create_sessionmaker(engine)() as session:
        await check_schema(session)


async def test_a_schema_that_is_behind(engine: AsyncEngine) -> None:
    await alembic(engine, command.downgrade, "-1")
    sessions = create_sessionmaker(engine)
    await assert_behind(sessions)
    await set_version(engine, None)
    await assert_behind(sessions)
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE alembic_version"))
    await assert_behind(sessions)


def test_the_revisions_are_read_as_alembic_reads_them() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert revisions() == {script.revision: script.down_revision for script in scripts.walk_revisions()}
    assert code_head() == scripts.get_current_head()


async def assert_behind(sessions: async_sessionmaker[AsyncSession]) -> None:
    async with sessions() as session:
        with pytest.raises(SchemaBehind, match="interviews migrate"):
            await check_schema(session)


async def test_readiness_reports_a_schema_that_is_behind(engine: AsyncEngine, settings: Settings) -> None:
    current = await head(engine)
    async with client_of(create_app(settings, create_sessionmaker(engine))) as client:
        assert (await client.get("/health/ready")).status_code == 200
        await alembic(engine, command.downgrade, "-1")
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "schema_behind")
        assert (await client.get("/health/live")).status_code == 200
        await migrate(engine)
        assert await head(engine) == current
        assert (await client.get("/health/ready")).status_code == 200

"""The migration that adds the search: it fills in existing rows, and resumes an interrupted run."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_engine
from app.core.schema import migrate
from app.core.search_text import searchable
from tests.core.test_schema import alembic, inspected

LAST = "20261122_keys"  # the last migration that can be resumed
ROWS = text(
    """
    WITH owner AS (
        INSERT INTO organizations (name, company_name, instructions_template, max_duration)
        VALUES ('default', 'x', 'x', 60) RETURNING id)
    INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name,
        phone_number, job_title, company_name, instructions, max_duration)
    SELECT id, 'c', 'a', 'j', 'أسماء ' || n, '+966 50 ' || n, 'Developer', 'x', 'x', 60
    FROM owner, generate_series(1, 2345) AS n
    """
)


@pytest.fixture
async def before(own_database: str) -> AsyncIterator[AsyncEngine]:
    """A database before the migration, with interviews."""
    engine = create_engine(own_database)
    await alembic(engine, command.downgrade, "20261122_search")
    await alembic(engine, command.downgrade, "-1")
    async with engine.begin() as connection:
        await connection.execute(ROWS)
    yield engine
    await engine.dispose()


async def assert_filled(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT participant_name, job_title, phone_number, search_text FROM interviews")
        )
        for name, title, number, stored in rows:
            assert stored == searchable(participant_name=name, job_title=title, phone_number=number)
        invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        assert await connection.scalar(text(invalid)) == 0


async def test_existing_rows_are_filled_in(before: AsyncEngine) -> None:
    await migrate(before)
    await assert_filled(before)


async def test_an_interrupted_run_is_resumed(before: AsyncEngine) -> None:
    await alembic(before, command.upgrade, LAST)
    made = await inspected(before)
    async with before.begin() as connection:
        for statement in (
            "UPDATE alembic_version SET version_num = '20261122_webhooks'",
            "UPDATE interviews SET search_text = '' WHERE id < '80000000-0000-0000-0000-000000000000'",
            "DROP INDEX ix_interviews_organization_id_candidate_id",
            # like an index whose creation was interrupted
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_interviews_search_text'::regclass",
            "ALTER TABLE api_keys DROP COLUMN revoked_at",
        ):
            await connection.execute(text(statement))
    await alembic(before, command.upgrade, LAST)
    await assert_filled(before)
    assert await inspected(before) == made

"""The migration that renames timeline entries: existing rows read like new ones, and back again."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_engine
from app.core.schema import migrate
from app.interviews.timeline import EVENTS, RULES, SERVICE_ACTIONS
from tests.core.test_schema import alembic

OLD = [
    ("service", "put_off"),
    ("service", "time_told"),
    ("livekit", "asked"),
    ("status", "opened_again"),
    ("status", "nobody_yet"),
    ("service", "room_deleted"),
    ("call", "put_off"),
]
NEW = [
    ("service", "postponed"),
    ("service", "time_left_announced"),
    ("livekit", "room_checked"),
    ("status", "attempt_opened"),
    ("status", "nobody_connected"),
    ("service", "room_deleted"),
    ("call", "put_off"),
]
ROWS = text(
    """
    WITH owner AS (
        INSERT INTO organizations (name, company_name, instructions_template, max_duration)
        VALUES ('default', 'x', 'x', 60) RETURNING id),
    interview AS (
        INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name,
            phone_number, job_title, company_name, instructions, max_duration)
        SELECT id, 'c', 'a', 'j', 'n', '+966 50', 'Developer', 'x', 'x', 60 FROM owner RETURNING id)
    INSERT INTO timeline (interview_id, attempt, kind, name)
    SELECT interview.id, 1, entry.kind, entry.name
    FROM interview, unnest(CAST(:kinds AS text[]), CAST(:names AS text[])) WITH ORDINALITY AS entry (kind, name, n)
    ORDER BY n
    """
)


@pytest.fixture
async def before(own_database: str) -> AsyncIterator[AsyncEngine]:
    """A database as it was before the migration, with an entry of every name."""
    engine = create_engine(own_database)
    await alembic(engine, command.downgrade, "20261127_opens")
    async with engine.begin() as connection:
        await connection.execute(ROWS, {"kinds": [kind for kind, _ in OLD], "names": [name for _, name in OLD]})
    yield engine
    await engine.dispose()


async def entries(engine: AsyncEngine) -> list[tuple[str, str]]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT kind, name FROM timeline ORDER BY id"))
        return [(row.kind, row.name) for row in rows]


async def test_entries_are_renamed_and_back(before: AsyncEngine) -> None:
    await migrate(before)
    assert await entries(before) == NEW
    await alembic(before, command.downgrade, "20261127_opens")
    assert await entries(before) == OLD


async def test_rows_beyond_one_batch_are_renamed(before: AsyncEngine) -> None:
    async with before.begin() as connection:
        await connection.execute(text("ALTER TABLE timeline ALTER COLUMN id RESTART WITH 45000"))
        await connection.execute(
            text(
                "INSERT INTO timeline (interview_id, attempt, kind, name)"
                " SELECT interview_id, 2, kind, name FROM timeline ORDER BY id"
            )
        )
    await migrate(before)
    assert await entries(before) == NEW + NEW


def test_the_new_names_have_sentences() -> None:
    sentences = {"service": SERVICE_ACTIONS, "livekit": EVENTS, "status": {**RULES, "attempt_opened": ""}}
    assert all(name in sentences[kind] for kind, name in NEW if kind != "call")

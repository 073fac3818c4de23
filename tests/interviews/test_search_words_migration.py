"""The migration that stores words in parts and in one: for existing rows, unless they are edited meanwhile."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_engine
from app.core.schema import migrate
from app.core.search_text import searchable
from tests.core.test_schema import alembic

BEFORE = "20261127_timeline_names"
ROWS = text(
    """
    WITH owner AS (
        INSERT INTO organizations (name, company_name, instructions_template, max_duration)
        VALUES ('default', 'x', 'x', 60) RETURNING id)
    INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name,
        phone_number, job_title, company_name, instructions, max_duration, search_text)
    SELECT id, 'c', 'a', 'j', name || n, phone, 'Developer', 'x', 'x', 60, folded || n || E'\\ndeveloper\\n' || phone
    FROM owner, generate_series(1, 1200) AS n, (VALUES (E'O\\u2019Brien', E'o\\u2019brien', '966501234567'),
        ('Al-Harbi', 'al-harbi', '5491123456789'), ('Layla', 'layla', '966501234568')) AS person (name, folded, phone)
    """
)


@pytest.fixture
async def before(own_database: str) -> AsyncIterator[AsyncEngine]:
    """A database before the migration, with search texts as an older process writes them."""
    engine = create_engine(own_database)
    await alembic(engine, command.downgrade, BEFORE)
    async with engine.begin() as connection:
        await connection.execute(ROWS)
    yield engine
    await engine.dispose()


async def stored(engine: AsyncEngine) -> dict[str, tuple[str, str, str]]:
    """Return search text, the text that it should be, and the row's version, by name."""
    query = text("SELECT participant_name, job_title, phone_number, search_text, xmin::text FROM interviews")
    async with engine.connect() as connection:
        return {
            name: (found, searchable(participant_name=name, job_title=title, phone_number=number), version)
            for name, title, number, found, version in await connection.execute(query)
        }


async def test_existing_rows_get_the_new_text_and_others_are_not_touched(before: AsyncEngine) -> None:
    old = await stored(before)
    await migrate(before)
    new = await stored(before)
    assert {name for name, (found, expected, _) in new.items() if found != expected} == set()
    assert new["O\u2019Brien7"][0] == "o'brien7 obrien7\ndeveloper\n966501234567"
    assert new["Al-Harbi7"][0] == "al-harbi7 al harbi7 alharbi7\ndeveloper\n5491123456789 541123456789"
    assert {name for name in new if new[name][2] == old[name][2]} == {f"Layla{n}" for n in range(1, 1201)}


async def test_it_goes_back_and_runs_again(before: AsyncEngine) -> None:
    await migrate(before)
    first = await stored(before)
    await alembic(before, command.downgrade, BEFORE)
    assert await stored(before) == first
    await migrate(before)
    assert await stored(before) == first

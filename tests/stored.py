"""All values in the database as text, including tables and columns added later."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

TABLES = text(
    """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    """
)


class Stored(NamedTuple):
    """A value in the database, as text."""

    table: str
    column: str
    text: str


async def everything(sessions: async_sessionmaker[AsyncSession]) -> list[Stored]:
    """Return all values of all rows of all tables."""
    values = []
    async with sessions() as session:
        for table in (await session.scalars(TABLES)).all():
            rows = await session.execute(text(f"SELECT * FROM {table}"))  # noqa: S608 - a name from the catalogue
            name = table.removeprefix("public.")
            for row in rows.mappings():
                values += [Stored(name, column, _as_text(value)) for column, value in row.items()]
    return values


async def places_of(sessions: async_sessionmaker[AsyncSession], needles: Iterable[str]) -> dict[str, set[str]]:
    """Return where each of the needles is stored, ignoring case, as `table.column`."""
    stored = await everything(sessions)
    return {
        needle: {f"{each.table}.{each.column}" for each in stored if needle.lower() in each.text.lower()}
        for needle in needles
    }


def _as_text(value: Any) -> str:
    """Return the value as text; bytes as hex, to search for hashes, and decoded."""
    if isinstance(value, bytes):
        return f"{value.hex()} {value.decode(errors='replace')}"
    return str(value)

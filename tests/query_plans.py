"""Postgres's plans for the app's queries, on a table large enough that plans differ."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database import create_sessionmaker
from app.models import Organization

Result = TypeVar("Result")

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
# Row n was created n seconds before NOW and updated n/2 seconds before; every second row has opensAt, minutes apart.
FILL = text(
    """
    INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name, phone_number,
        job_title, company_name, instructions, max_duration, status, opens_at, created_at, updated_at, search_text)
    SELECT organizations.id, 'c' || n, 'a' || n, 'j' || n % 500, 'Name ' || n, '9665' || n, 'Title', 'ACME', 'Hello.',
        1800, CASE n % 20 WHEN 0 THEN 'FAILED' WHEN 1 THEN 'NO_SHOW' WHEN 2 THEN 'READY_TO_JOIN' ELSE 'COMPLETED' END,
        CASE WHEN n % 2 = 0 THEN CAST(:now AS timestamptz) + (n - 10000) * interval '1 minute' END,
        CAST(:now AS timestamptz) - n * interval '1 second', CAST(:now AS timestamptz) - n * interval '0.5 second',
        'name ' || n || E'\\ntitle\\n9665' || n
    FROM organizations, generate_series(1, :count) AS n
    """
)


async def fill(engine: AsyncEngine, count: int) -> None:
    """Insert interviews and update the planner's statistics."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("SET statement_timeout = 0"))
        await connection.execute(FILL, {"count": count, "now": NOW})
        await connection.execute(text("VACUUM ANALYZE interviews"))
        await connection.execute(text("RESET statement_timeout"))


async def organization_of(engine: AsyncEngine) -> uuid.UUID:
    async with engine.connect() as connection:
        return (await connection.execute(select(Organization.id))).scalar_one()


async def plan_of(
    engine: AsyncEngine, work: Callable[[AsyncSession], Awaitable[Result]], *, table: str = "interviews"
) -> tuple[str, Result]:
    """Return the EXPLAIN lines of the statements on a table that `work` executes, and the result of `work`."""
    statements: list[tuple[str, Any]] = []

    def keep(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, _4: bool) -> None:
        if f"FROM {table}" in statement or f"JOIN {table}" in statement:
            statements.append((statement, parameters))

    async with create_sessionmaker(engine)() as session:
        connection = await session.connection()
        event.listen(connection.sync_connection, "before_cursor_execute", keep)
        result = await work(session)
        event.remove(connection.sync_connection, "before_cursor_execute", keep)
        lines = [
            line
            for statement, parameters in statements
            for line in (await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)).scalars()
        ]
        return "\n".join(lines), result

"""What Postgres plans to do for a query of the app's, on a table that is large enough to have a choice."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.db import create_sessionmaker

FILL = text(
    """
    INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name, phone_number,
        job_title, company_name, instructions, max_duration, status, end_reason, opens_at, created_at, updated_at,
        search_text)
    SELECT organizations.id, 'c' || n, 'a' || n, 'j' || n % 500, 'Name ' || n, '9665' || n, 'Title', 'ACME', 'Hello.',
        1800, CASE n % 20 WHEN 0 THEN 'FAILED' WHEN 1 THEN 'NO_SHOW' WHEN 2 THEN 'READY_TO_JOIN' ELSE 'COMPLETED' END,
        NULL, CAST(:end AS timestamptz) - n * interval '1 minute', CAST(:end AS timestamptz) - n * interval '2 seconds',
        CAST(:end AS timestamptz) - n * interval '1 second', 'name ' || n || E'\\ntitle\\n9665' || n
    FROM organizations, generate_series(1, :count) AS n
    """
)


async def fill(engine: AsyncEngine, count: int, *, end: datetime | None = None) -> None:
    """Insert interviews, each a second older than the one before, and let the planner know."""
    async with engine.begin() as connection:
        await connection.execute(FILL, {"count": count, "end": end or datetime.now(UTC)})
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE interviews"))


async def plan_of(engine: AsyncEngine, work: Callable[[AsyncSession], Awaitable[Any]]) -> str:
    """Return EXPLAIN's lines for the first statement on interviews that the work executes."""
    statements: list[tuple[str, Any]] = []

    def keep(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, _4: bool) -> None:
        if "FROM interviews" in statement:
            statements.append((statement, parameters))

    async with create_sessionmaker(engine)() as session:
        connection = await session.connection()
        event.listen(connection.sync_connection, "before_cursor_execute", keep)
        await work(session)
        event.remove(connection.sync_connection, "before_cursor_execute", keep)
        statement, parameters = statements[0]
        return "\n".join((await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)).scalars())

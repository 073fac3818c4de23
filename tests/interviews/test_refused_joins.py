"""However often a join was refused, a status update reads only the issued tokens."""

import uuid
from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database import driver_connection
from app.interviews.join_queries import (
    KNOWN_FOR,
    RECORD,
    TRIES_IN_ALL_WINDOW,
    TRIES_WINDOW,
    JoinRecord,
    count_wrong_tries,
    record_joins,
)
from app.interviews.stored_facts import FACTS, load_facts
from app.models import Interview
from tests.query_plans import NOW, fill

INDEX = "ix_join_requests_interview_id_answer_at"
REFUSED = text(
    """
    INSERT INTO join_requests (interview_id, attempt, at, answer, address)
    SELECT id, 1, CAST(:now AS timestamptz) - n * interval '1 second',
        CASE n % 50000 WHEN 0 THEN 'TOKEN_ISSUED' ELSE 'wrong_phone_number' END, 'a'
    FROM (SELECT id FROM interviews ORDER BY id LIMIT 1) one, generate_series(1, 100000) n
    """
)


async def refuse_100_000(engine: AsyncEngine) -> uuid.UUID:
    """Return the id of an interview with 100,000 refused joins and two issued tokens."""
    await fill(engine, 1_000)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("SET statement_timeout = 0"))
        await connection.execute(REFUSED, {"now": NOW})
        await connection.execute(text("VACUUM ANALYZE join_requests"))
        await connection.execute(text("RESET statement_timeout"))
        return (await connection.scalars(select(Interview.id).order_by(Interview.id).limit(1))).one()


async def test_refused_joins_slow_neither_status_updates_nor_limits(own_engine: AsyncEngine) -> None:
    interview_id = await refuse_100_000(own_engine)

    async with AsyncSession(own_engine) as session:
        facts = await load_facts(await driver_connection(session), [await session.get_one(Interview, interview_id)])
    assert facts[interview_id].last_token_at == NOW - timedelta(seconds=50_000)
    guess = JoinRecord(
        interview_id, "c1", 1, NOW, "wrong_phone_number", b"a", True, is_counted=False, is_held_back=False
    )
    limits = (TRIES_WINDOW, TRIES_IN_ALL_WINDOW, KNOWN_FOR)
    assert_reads_tokens_alone(await explain(own_engine, FACTS, [interview_id], [1]))
    assert_reads_tokens_alone(await explain(own_engine, RECORD, *([each] for each in guess), "off", *limits))


async def explain(engine: AsyncEngine, statement: str, *parameters: object) -> str:
    async with AsyncSession(engine) as session:
        connection = await driver_connection(session)
        lines = await connection.fetch(f"EXPLAIN {statement}", *parameters)
        return "\n".join(line[0] for line in lines)


def assert_reads_tokens_alone(plan: str) -> None:
    lines = plan.splitlines()
    indexes = [index for index, line in enumerate(lines) if INDEX in line]
    assert indexes, plan
    assert all("answer = 'TOKEN_ISSUED'" in lines[index + 1] for index in indexes), plan
    assert "Seq Scan on join_requests" not in plan


async def test_a_wrong_try_is_counted_durably(own_engine: AsyncEngine) -> None:
    await fill(own_engine, 1)
    async with AsyncSession(own_engine) as session:
        interview = (await session.scalars(select(Interview))).one()
        connection = await driver_connection(session)
        record = JoinRecord(
            interview.id, interview.candidate_id, 1, NOW, "wrong_phone_number", b"a", True, False, False
        )
        async with connection.transaction():
            assert await record_joins(connection, [record], is_durable=False) == {0: None}
            assert await connection.fetchval("SHOW synchronous_commit") == "off"
            await count_wrong_tries(connection, [record])
            assert await connection.fetchval("SHOW synchronous_commit") == "on"

"""The feed of changes skips nothing, whatever the order of the commits."""

import uuid
from typing import Any

import pytest
from sqlalchemy import event, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database import create_sessionmaker
from app.core.errors import CursorInvalid
from app.models import Change
from app.stream.feed import Position, check_position, feed_end, read_feed, renumber_restored
from tests.e2e.conditions import eventually
from tests.feed import Sessions, change, new_interview, organization_of, record
from tests.stream_client import EVENT_TIMEOUT


@pytest.fixture
def committed(own_engine: AsyncEngine) -> Sessions:
    return create_sessionmaker(own_engine)


async def read(sessions: Sessions, organization_id: uuid.UUID, after: Position | None = None) -> list[Change]:
    async with sessions() as session:
        return await read_feed(session, organization_id=organization_id, after=after, limit=100)


async def read_when_over(
    sessions: Sessions, organization_id: uuid.UUID, count: int, after: Position | None = None
) -> list[Change]:
    """Wait for other tests' transactions on this server, which hold the feed back too."""

    async def found() -> list[Change] | None:
        changes = await read(sessions, organization_id, after)
        return changes if len(changes) >= count else None

    return await eventually(found, within=EVENT_TIMEOUT)


async def end(sessions: Sessions) -> Position:
    async with sessions() as session:
        return await feed_end(session)


async def test_a_change_is_held_back_until_earlier_transactions_end(committed: Sessions) -> None:
    organization = await organization_of(committed)
    early, late = [await new_interview(committed, organization) for _ in range(2)]
    async with committed.begin() as open_one:
        await record(open_one, early)
        await change(committed, late)
        assert await read(committed, organization) == []
        start = await end(committed)
    changes = await read_when_over(committed, organization, 2)
    assert [each.interview_id for each in changes] == [early, late]
    changes = await read_when_over(committed, organization, 2, start)
    assert [each.interview_id for each in changes] == [early, late]


async def test_the_feed_end_is_after_past_changes_and_before_new_ones(committed: Sessions) -> None:
    organization = await organization_of(committed)
    interview = await new_interview(committed, organization)
    await change(committed, interview)
    await read_when_over(committed, organization, 1)
    start = await end(committed)
    assert await read(committed, organization, start) == []
    await change(committed, interview)
    changes = await read_when_over(committed, organization, 1, start)
    assert [each.sequence for each in changes] == [2]


async def test_pages_are_contiguous(committed: Sessions) -> None:
    organization = await organization_of(committed)
    interview = await new_interview(committed, organization)
    async with committed.begin() as session:
        for _ in range(5):
            await record(session, interview)
    await read_when_over(committed, organization, 5)
    after, sequences = None, []
    async with committed() as session:
        while page := await read_feed(session, organization_id=organization, after=after, limit=2):
            sequences.append([each.sequence for each in page])
            after = Position.of(page[-1])
    assert sequences == [[1, 2], [3, 4], [5]]


async def test_changes_keep_their_order_when_a_transaction_wrote_before_it_got_the_lock(
    committed: Sessions,
) -> None:
    organization = await organization_of(committed)
    interview = await new_interview(committed, organization)
    async with committed.begin() as slow:
        await slow.execute(select(func.pg_current_xact_id()))  # as any write does, such as that of an Idempotency-Key
        await change(committed, interview)
        await record(slow, interview)
    changes = await read_when_over(committed, organization, 2)
    assert [each.sequence for each in changes] == [1, 2]


async def test_the_index_serves_the_feed(own_engine: AsyncEngine) -> None:
    statements: list[tuple[str, Any]] = []

    def remember(_c: object, _u: object, statement: str, parameters: Any, _x: object, _m: object) -> None:
        statements.append((statement, parameters))

    async with own_engine.connect() as connection:
        await connection.exec_driver_sql("SET enable_seqscan = off")
        event.listen(own_engine.sync_engine, "before_cursor_execute", remember)
        session = AsyncSession(connection)
        await read_feed(session, organization_id=uuid.uuid4(), after=Position(5, 5), limit=10)
        event.remove(own_engine.sync_engine, "before_cursor_execute", remember)
        ((statement, parameters),) = statements
        plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)).scalars())
    (condition,) = [line for line in plan.splitlines() if "Index Cond" in line]
    assert "ix_changes_organization_id_xid_id" in plan
    for part in ("organization_id =", "xid < ", "ROW(xid, id) > ROW("):
        assert part in condition
    assert "Sort" not in plan
    assert "Filter" not in plan


async def test_a_position_beyond_this_database_is_refused(committed: Sessions) -> None:
    async with committed() as session:
        await check_position(session, await feed_end(session))
        with pytest.raises(CursorInvalid, match="restored from a backup"):
            await check_position(session, Position(2**62, 1))


async def test_restored_changes_come_before_new_ones(committed: Sessions) -> None:
    """A dump keeps the other server's xids, which this one may not reach in years."""
    organization = await organization_of(committed)
    interview = await new_interview(committed, organization)
    async with committed.begin() as session:
        for _ in range(3):
            await record(session, interview)
        await session.execute(update(Change).values(xid=2**40 - Change.id % 2))
    start = await end(committed)
    assert await read(committed, organization) == []
    async with committed.begin() as session:
        assert await renumber_restored(session)
    assert [each.sequence for each in await read(committed, organization)] == [1, 2, 3]
    await change(committed, interview)
    changes = await read_when_over(committed, organization, 1, start)
    assert [each.sequence for each in changes] == [4]
    async with committed.begin() as session:
        assert not await renumber_restored(session)
    assert [each.sequence for each in await read(committed, organization, start)] == [4]


@pytest.mark.parametrize("given", ["", "1", "1-", "-1", "1-2-3", "a-1", "1-a", "1--2", "\u0661-1", "9" * 20 + "-1",
                                   f"{2**63}-1", " 1-1", "1-1\n"])  # fmt: skip
def test_malformed_positions_are_refused(given: str) -> None:
    with pytest.raises(CursorInvalid):
        Position.parse(given)


def test_a_position_survives_a_round_trip_as_text() -> None:
    assert Position.parse(str(Position(2**63 - 1, 17))) == Position(2**63 - 1, 17)

"""A stalled network to Postgres: the run times out, and its connection is closed in whatever state it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core import batching
from app.core.batching import Batcher
from app.core.database import create_engine, create_sessionmaker, driver_connection, raw_connection, transaction
from app.core.errors import DatabaseUnavailable
from tests.e2e.conditions import HOPELESS
from tests.stalling import Network, network_to

Sessions = async_sessionmaker[AsyncSession]
Insert = Callable[[int], Awaitable[int]]
INSERT = "INSERT INTO kept VALUES ($1)"


async def autocommit(sessions: Sessions, number: int) -> None:
    async with raw_connection(sessions) as connection:
        await connection.execute(INSERT, number)


async def in_one_transaction(sessions: Sessions, number: int) -> None:
    async with raw_connection(sessions, transaction=True) as connection:
        await connection.execute(INSERT, number)


async def in_a_session(sessions: Sessions, number: int) -> None:
    async with transaction(sessions) as session:
        await session.execute(text("SELECT 1"))  # begins the transaction
        await (await driver_connection(session)).execute(INSERT, number)


WRITES = [autocommit, in_one_transaction, in_a_session]


@asynccontextmanager
async def batcher(network: Network, write: Callable[[Sessions, int], Awaitable[None]]) -> AsyncIterator[Insert]:
    """Yield a function that inserts a number, one after the other on a single connection."""
    engine = create_engine(network.url, pool_size=1)
    sessions = create_sessionmaker(engine)

    async def run(numbers: Sequence[int]) -> Sequence[int]:
        await write(sessions, numbers[0])
        return numbers

    try:
        yield Batcher(run, max_batch=1, concurrency=1)
    finally:
        await engine.dispose()


@pytest.fixture
async def database(own_database: str) -> str:
    connection = await asyncpg.connect(own_database)
    await connection.execute("CREATE TABLE kept (number int)")
    await connection.close()
    return own_database


async def time_out(insert: Insert, number: int) -> None:
    """Insert with a short timeout. All other runs keep theirs, for a busy machine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batching, "RUN_TIMEOUT", 0.5)
        with pytest.raises(DatabaseUnavailable):
            await insert(number)


async def kept(url: str) -> set[int]:
    connection = await asyncpg.connect(url)
    try:
        return {row["number"] for row in await connection.fetch("SELECT number FROM kept")}
    finally:
        await connection.close()


@pytest.mark.parametrize("write", WRITES)
async def test_what_is_answered_after_a_stall_is_committed(
    database: str, write: Callable[[Sessions, int], Awaitable[None]]
) -> None:
    async with network_to(database) as network, batcher(network, write) as insert:
        assert await insert(1) == 1
        network.stop()
        await time_out(insert, 2)
        network.go_on()
        assert [await insert(3), await insert(4)] == [3, 4]
        assert {1, 3, 4} <= await kept(database)


@pytest.mark.parametrize("write", WRITES)
async def test_a_dead_connection_times_out_once(
    database: str, write: Callable[[Sessions, int], Awaitable[None]]
) -> None:
    async with asyncio.timeout(HOPELESS), network_to(database) as network, batcher(network, write) as insert:
        assert await insert(1) == 1
        network.stop()
        await time_out(insert, 2)
        assert [await insert(3), await insert(4)] == [3, 4]
        assert await kept(database) == {1, 3, 4}

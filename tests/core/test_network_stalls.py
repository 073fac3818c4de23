"""A network to Postgres that stops: a run is given up, and its connection with it, in whatever state that was."""

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
Ask = Callable[[int], Awaitable[int]]
INSERT = "INSERT INTO kept VALUES ($1)"


async def each_for_itself(sessions: Sessions, number: int) -> None:
    async with raw_connection(sessions) as connection:
        await connection.execute(INSERT, number)


async def in_one_transaction(sessions: Sessions, number: int) -> None:
    async with raw_connection(sessions, transaction=True) as connection:
        await connection.execute(INSERT, number)


async def beside_a_session(sessions: Sessions, number: int) -> None:
    async with transaction(sessions) as session:
        await session.execute(text("SELECT 1"))  # so it has begun
        await (await driver_connection(session)).execute(INSERT, number)


WAYS = [each_for_itself, in_one_transaction, beside_a_session]


@asynccontextmanager
async def batcher(network: Network, way: Callable[[Sessions, int], Awaitable[None]]) -> AsyncIterator[Ask]:
    """Yield what inserts a number, in a run after the other on the pool's one connection."""
    engine = create_engine(network.url, pool_size=1)
    sessions = create_sessionmaker(engine)

    async def run(numbers: Sequence[int]) -> Sequence[int]:
        await way(sessions, numbers[0])
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


async def in_vain(ask: Ask, number: int) -> None:
    """Ask what is soon given up. Whatever else is asked has its time, also on a busy machine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batching, "RUN_TIMEOUT", 0.5)
        with pytest.raises(DatabaseUnavailable):
            await ask(number)


async def kept(url: str) -> set[int]:
    connection = await asyncpg.connect(url)
    try:
        return {row["number"] for row in await connection.fetch("SELECT number FROM kept")}
    finally:
        await connection.close()


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_answered_after_a_stall_is_committed(
    database: str, way: Callable[[Sessions, int], Awaitable[None]]
) -> None:
    async with network_to(database) as network, batcher(network, way) as ask:
        assert await ask(1) == 1
        network.stop()
        await in_vain(ask, 2)
        network.go_on()
        assert [await ask(3), await ask(4)] == [3, 4]
        assert {1, 3, 4} <= await kept(database)


@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_that_is_swallowed_is_given_up_once(
    database: str, way: Callable[[Sessions, int], Awaitable[None]]
) -> None:
    async with asyncio.timeout(HOPELESS), network_to(database) as network, batcher(network, way) as ask:
        assert await ask(1) == 1
        network.stop()
        await in_vain(ask, 2)
        assert [await ask(3), await ask(4)] == [3, 4]
        assert await kept(database) == {1, 3, 4}

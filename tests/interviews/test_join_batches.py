"""Those who join together, on committed rows: nobody waits for the lock of somebody else, or with a connection."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import POOL_SIZE, create_sessionmaker
from app.interviews.join import JoinCommand, JoinResult
from app.interviews.join_policy import JoinCredentials
from app.interviews.join_queries import tries_lock
from tests.e2e.conditions import eventually
from tests.interview_driver import InterviewDriver
from tests.join_client import HOME, RIGHT, behind

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def asking(driver: InterviewDriver, interview: dict[str, Any], number: str | None = None) -> asyncio.Task[JoinResult]:
    """Ask for a seat as a join does; those who ask in one turn of the loop go together."""
    ask = JoinCommand(UUID(interview["interviewId"]), JoinCredentials(HOME, phone_number=number), driver.now)
    return asyncio.create_task(driver.app.state.services.joins(ask))


async def waiting(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(WAITING) or 0


async def test_a_locked_interview_holds_up_its_own_candidate_only(own_engine: AsyncEngine) -> None:
    async with behind(create_sessionmaker(own_engine), "open") as driver:
        held, *free = [await driver.new() for _ in range(4)]
        async with own_engine.begin() as other:
            await other.execute(text("SELECT FROM interviews WHERE id = :id FOR UPDATE"), {"id": held["interviewId"]})
            first, *others = [asking(driver, each) for each in (held, *free)]
            tickets = await asyncio.gather(*others)
            assert [str(each.snapshot.id) for each in tickets] == [each["interviewId"] for each in free]
            assert not first.done()
        assert str((await first).snapshot.id) == held["interviewId"]


async def test_of_many_guesses_at_one_interview_one_has_a_connection(own_engine: AsyncEngine) -> None:
    """More guesses than connections, while the first of them waits: others are let in all the same."""
    async with behind(create_sessionmaker(own_engine), "phone") as driver:
        guessed, other = await driver.new(), await driver.new()
        async with own_engine.connect() as busy:
            await busy.execute(select(func.pg_advisory_xact_lock(tries_lock(UUID(guessed["interviewId"])))))
            guesses = [asking(driver, guessed, RIGHT) for _ in range(POOL_SIZE + 5)]

            async def one_waits() -> bool:
                return await waiting(own_engine) == 1

            await eventually(one_waits)
            assert str((await asking(driver, other, RIGHT)).snapshot.id) == other["interviewId"]
            assert await waiting(own_engine) == 1
            await busy.commit()
        assert len(await asyncio.gather(*guesses)) == len(guesses)


async def test_guesses_at_one_interview_take_turns_and_none_is_joined_alone(
    own_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone each would cost a transaction of its own: an attacker costs us a turn of his candidate's, and no more."""

    async def alone(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("app.interviews.join._join_alone", alone)
    async with behind(create_sessionmaker(own_engine), "phone") as driver:
        guessed = await driver.new()
        tickets = await asyncio.gather(*(asking(driver, guessed, RIGHT) for _ in range(10)))
        assert {str(each.snapshot.id) for each in tickets} == {guessed["interviewId"]}


async def test_however_many_interviews_are_held_two_connections_wait(own_engine: AsyncEngine) -> None:
    async with behind(create_sessionmaker(own_engine), "open") as driver:
        free, *held = [await driver.new() for _ in range(POOL_SIZE + 5)]
        async with own_engine.begin() as other:
            await other.execute(
                text("SELECT FROM interviews WHERE id <> :id FOR UPDATE"), {"id": UUID(free["interviewId"])}
            )
            waiters = [asking(driver, each) for each in held]

            async def two_wait() -> bool:
                return await waiting(own_engine) == 2

            await eventually(two_wait)
            assert str((await asking(driver, free)).snapshot.id) == free["interviewId"]
            assert await waiting(own_engine) == 2
        assert len(await asyncio.gather(*waiters)) == len(held)

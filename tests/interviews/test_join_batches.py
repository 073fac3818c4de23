"""Joins in batches, on committed rows: none waits for another's lock, or holds a connection while it waits."""

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


def joining(driver: InterviewDriver, interview: dict[str, Any], number: str | None = None) -> asyncio.Task[JoinResult]:
    """Start a join. Those started in one turn of the event loop form a batch."""
    command = JoinCommand(UUID(interview["interviewId"]), JoinCredentials(HOME, phone_number=number), driver.now)
    return asyncio.create_task(driver.app.state.services.joins(command))


async def waiting(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(WAITING) or 0


async def test_a_locked_interview_holds_up_its_own_candidate_only(own_engine: AsyncEngine) -> None:
    async with behind(create_sessionmaker(own_engine), "open") as driver:
        held, *free = [await driver.new() for _ in range(4)]
        async with own_engine.begin() as other:
            await other.execute(text("SELECT FROM interviews WHERE id = :id FOR UPDATE"), {"id": held["interviewId"]})
            first, *others = [joining(driver, each) for each in (held, *free)]
            results = await asyncio.gather(*others)
            assert [str(each.snapshot.id) for each in results] == [each["interviewId"] for each in free]
            assert not first.done()
        assert str((await first).snapshot.id) == held["interviewId"]


async def test_of_many_guesses_at_one_interview_one_has_a_connection(own_engine: AsyncEngine) -> None:
    """While the first of more guesses than connections waits, others can join."""
    async with behind(create_sessionmaker(own_engine), "phone") as driver:
        guessed, other = await driver.new(), await driver.new()
        async with own_engine.connect() as busy:
            await busy.execute(select(func.pg_advisory_xact_lock(tries_lock(UUID(guessed["interviewId"])))))
            guesses = [joining(driver, guessed, RIGHT) for _ in range(POOL_SIZE + 5)]

            async def one_waits() -> bool:
                return await waiting(own_engine) == 1

            await eventually(one_waits)
            assert str((await joining(driver, other, RIGHT)).snapshot.id) == other["interviewId"]
            assert await waiting(own_engine) == 1
            await busy.commit()
        assert len(await asyncio.gather(*guesses)) == len(guesses)


async def test_guesses_at_one_interview_take_turns_and_none_is_joined_alone(
    own_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With locks each would cost a transaction of its own: an attacker delays his own candidate only."""

    async def with_locks(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("app.interviews.join._join_with_locks", with_locks)
    async with behind(create_sessionmaker(own_engine), "phone") as driver:
        guessed = await driver.new()
        results = await asyncio.gather(*(joining(driver, guessed, RIGHT) for _ in range(10)))
        assert {str(each.snapshot.id) for each in results} == {guessed["interviewId"]}


async def test_however_many_interviews_are_held_two_connections_wait(own_engine: AsyncEngine) -> None:
    async with behind(create_sessionmaker(own_engine), "open") as driver:
        free, *held = [await driver.new() for _ in range(POOL_SIZE + 5)]
        async with own_engine.begin() as other:
            await other.execute(
                text("SELECT FROM interviews WHERE id <> :id FOR UPDATE"), {"id": UUID(free["interviewId"])}
            )
            waiters = [joining(driver, each) for each in held]

            async def two_wait() -> bool:
                return await waiting(own_engine) == 2

            await eventually(two_wait)
            assert str((await joining(driver, free)).snapshot.id) == free["interviewId"]
            assert await waiting(own_engine) == 2
        assert len(await asyncio.gather(*waiters)) == len(held)

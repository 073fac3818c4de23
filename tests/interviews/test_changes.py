"""The changes that callers are told of: one for each, in order, written with the change itself."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.models import Change
from tests.interview_driver import AGENT, InterviewDriver

Told = tuple[str, str | None, str, str | None]


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def changes_of(sessions: async_sessionmaker[AsyncSession], interview: dict[str, Any]) -> list[Change]:
    async with sessions() as session:
        query = select(Change).where(Change.interview_id == uuid.UUID(interview["interviewId"])).order_by(Change.id)
        return list((await session.scalars(query)).all())


def told(changes: list[Change]) -> list[Told]:
    return [
        (each.type.removeprefix("interview."), each.previous_status, each.status, each.end_reason) for each in changes
    ]


async def test_a_conversation(driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]) -> None:
    made = await driver.new()
    await driver.comes(made)
    await driver.comes(made, AGENT)
    driver.later(60)
    await driver.complete(made)
    changes = await changes_of(sessions, made)
    assert told(changes) == [
        ("scheduled", None, "READY_TO_JOIN", None),
        ("status_changed", "READY_TO_JOIN", "WAITING_FOR_AGENT", None),
        ("status_changed", "WAITING_FOR_AGENT", "IN_PROGRESS", None),
        ("status_changed", "IN_PROGRESS", "COMPLETED", "AGENT_REPORTED"),
    ]
    assert [each.sequence for each in changes] == [1, 2, 3, 4]
    assert changes[-1].at == driver.now
    assert (await driver.get(made))["sequence"] == 4


async def test_a_status_is_told_as_it_is_shown(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat())
    await driver.call(made, "cancel")
    assert told(await changes_of(sessions, made)) == [
        ("scheduled", None, "SCHEDULED", None),
        ("status_changed", "SCHEDULED", "CANCELLED", None),
    ]


async def test_what_is_opened_again(driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]) -> None:
    made = await driver.new()
    await driver.fails(made)
    await driver.join(made)
    *_, opened = await changes_of(sessions, made)
    assert told([opened]) == [("status_changed", "FAILED", "READY_TO_JOIN", None)]
    assert opened.attempt == 2


async def test_an_amended_end_says_so(driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]) -> None:
    made = await driver.new()
    await driver.fails(made)
    await driver.complete(made)
    assert told(await changes_of(sessions, made))[-1] == ("amended", "FAILED", "COMPLETED", "AGENT_REPORTED")


async def test_what_changes_nothing_tells_nothing(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new()
    await driver.join(made)
    await driver.comes(made)
    before = await changes_of(sessions, made)
    await driver.comes(made)  # the webhook repeated
    assert len(await changes_of(sessions, made)) == len(before) == 2

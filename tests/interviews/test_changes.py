"""Recorded changes: one for each change of an interview, in order, in the same transaction."""

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

Summary = tuple[str, str | None, str, str | None]  # type, previous status, status, end reason


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def changes_of(sessions: async_sessionmaker[AsyncSession], interview: dict[str, Any]) -> list[Change]:
    async with sessions() as session:
        query = select(Change).where(Change.interview_id == uuid.UUID(interview["interviewId"])).order_by(Change.id)
        return list((await session.scalars(query)).all())


def summaries(changes: list[Change]) -> list[Summary]:
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
    assert summaries(changes) == [
        ("scheduled", None, "READY_TO_JOIN", None),
        ("status_changed", "READY_TO_JOIN", "WAITING_FOR_AGENT", None),
        ("status_changed", "WAITING_FOR_AGENT", "IN_PROGRESS", None),
        ("status_changed", "IN_PROGRESS", "COMPLETED", "AGENT_REPORTED"),
    ]
    assert [each.sequence for each in changes] == [1, 2, 3, 4]
    assert changes[-1].at == driver.now
    assert (await driver.get(made))["sequence"] == 4


async def test_a_change_has_the_public_status(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat())
    await driver.call(made, "cancel")
    assert summaries(await changes_of(sessions, made)) == [
        ("scheduled", None, "SCHEDULED", None),
        ("status_changed", "SCHEDULED", "CANCELLED", None),
    ]


async def test_a_reopened_interview(driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]) -> None:
    made = await driver.new()
    await driver.fails(made)
    await driver.join(made)
    *_, opened = await changes_of(sessions, made)
    assert summaries([opened]) == [("status_changed", "FAILED", "READY_TO_JOIN", None)]
    assert opened.attempt == 2


async def test_an_amended_end(driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]) -> None:
    made = await driver.new()
    await driver.fails(made)
    await driver.complete(made)
    assert summaries(await changes_of(sessions, made))[-1] == ("amended", "FAILED", "COMPLETED", "AGENT_REPORTED")


async def test_a_duplicate_webhook_records_no_change(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new()
    await driver.join(made)
    await driver.comes(made)
    before = await changes_of(sessions, made)
    await driver.comes(made)  # a duplicate webhook
    assert len(await changes_of(sessions, made)) == len(before) == 2

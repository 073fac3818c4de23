"""Joining after the end: a fault of the platform opens the next attempt, any other end is final."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_sessionmaker
from app.core.settings import Settings
from app.lifecycle import Status
from app.main import create_app
from app.models import Interview, Organization
from tests.conftest import AUTHORIZED, client_of
from tests.interview_driver import InterviewDriver


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def ended(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], status: Status, **more: Any
) -> dict[str, Any]:
    """Return an interview that has ended with that status. Names in snake case are columns."""
    columns = {name: more.pop(name) for name in list(more) if "_" in name}
    made = await driver.new(**more)
    end = {"status": status, "decided_cause": "window_over", "decided_status": status, "ended_at": driver.now}
    end |= columns
    async with sessions.begin() as session:
        await session.execute(update(Interview).where(Interview.id == made["interviewId"]).values(end))
    return made


async def test_after_a_failure_the_next_attempt_opens_by_itself(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.fails(made)
    answer = await driver.join(made)
    assert answer.status_code == 200
    assert answer.json()["roomName"] == f"{made['roomName']}-2"
    assert answer.json()["status"] == "READY_TO_JOIN"
    found = await driver.get(made)
    assert (found["attempt"], found["status"], found["joinAttempts"]) == (2, "READY_TO_JOIN", 1)
    again = await driver.join(made)
    assert again.json()["roomName"] == answer.json()["roomName"]


async def test_three_attempts_in_all(driver: InterviewDriver) -> None:
    interview = await driver.new()
    for _ in range(2):
        await driver.fails(interview)
        assert (await driver.join(interview)).status_code == 200
        interview = await driver.get(interview)
    assert interview["attempt"] == 3
    await driver.fails(interview)
    answer = await driver.join(interview)
    assert (answer.status_code, answer.json()["code"]) == (409, "interview_over")
    assert answer.json()["interviewStatus"] == "FAILED"


async def test_reopening_starts_the_count_again(driver: InterviewDriver) -> None:
    interview = await driver.new()
    for _ in range(2):
        await driver.fails(interview)
        await driver.join(interview)
        interview = await driver.get(interview)
    await driver.fails(interview)
    interview = (await driver.call(interview, "reopen")).json()
    for expected in (5, 6):
        await driver.fails(interview)
        assert (await driver.join(interview)).status_code == 200
        interview = await driver.get(interview)
        assert interview["attempt"] == expected
    await driver.fails(interview)
    assert (await driver.join(interview)).status_code == 409


@pytest.mark.parametrize("status", [Status.ABANDONED, Status.COMPLETED, Status.NO_SHOW, Status.CANCELLED])
async def test_after_any_other_end_it_is_over(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], status: Status
) -> None:
    made = await ended(driver, sessions, status)
    answer = await driver.join(made)
    assert (answer.status_code, answer.json()["interviewStatus"]) == (409, status)
    assert (await driver.get(made))["attempt"] == 1


@pytest.mark.parametrize(("minutes", "expected"), [(-1, 200), (29.9, 200), (30.1, 409)])
async def test_up_to_half_an_hour_after_closes_at(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], minutes: float, expected: int
) -> None:
    closes_at = driver.now + timedelta(hours=1)
    made = await ended(driver, sessions, Status.FAILED, closesAt=closes_at.isoformat())
    driver.later(3600 + minutes * 60)
    assert (await driver.join(made)).status_code == expected


async def test_an_attempt_opened_after_closes_at_gives_time_to_connect(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    closes_at = driver.now + timedelta(hours=1)
    made = await ended(driver, sessions, Status.FAILED, closesAt=closes_at.isoformat())
    driver.later(3600 + 20 * 60)
    await driver.join(made)
    found = await driver.get(made)
    await driver.comes(found)
    assert (await driver.get(found))["status"] == "WAITING_FOR_AGENT"


async def test_what_the_agent_reports_late_keeps_the_interview_from_being_opened_again(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.fails(made)
    await driver.complete(made)
    answer = await driver.join(made)
    assert (answer.status_code, answer.json()["interviewStatus"]) == (409, "COMPLETED")


async def set_rejoin(driver: InterviewDriver, value: str) -> None:
    answer = await driver.client.patch("/organization", headers=AUTHORIZED, json={"rejoinAfterFailure": value})
    assert (answer.status_code, answer.json()["rejoinAfterFailure"]) == (200, value)


PULLED_PLUG, NO_AGENT, NO_CONNECTION = "CONNECTION_LOST", "AGENT_UNAVAILABLE", "CANDIDATE_CONNECTION_FAILED"


@pytest.mark.parametrize(
    ("value", "end_reason", "expected"),
    [
        *(("always", reason, 200) for reason in (PULLED_PLUG, NO_AGENT, NO_CONNECTION)),
        ("before_start", PULLED_PLUG, 409),
        ("before_start", NO_AGENT, 200),
        ("before_start", NO_CONNECTION, 200),
        *(("never", reason, 409) for reason in (PULLED_PLUG, NO_AGENT, NO_CONNECTION)),
    ],
)
async def test_an_organization_says_when_a_failure_may_be_joined_again(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], value: str, end_reason: str, expected: int
) -> None:
    await set_rejoin(driver, value)
    made = await ended(driver, sessions, Status.FAILED, decided_end_reason=end_reason, end_reason=end_reason)
    answer = await driver.join(made)
    assert answer.status_code == expected
    if expected == 409:
        assert (answer.json()["code"], answer.json()["interviewStatus"]) == ("interview_over", "FAILED")
        reopened = await driver.call(made, "reopen")
        assert reopened.status_code == 200, "the recruiter may reopen it"
        assert (await driver.join(made)).status_code == 200


@pytest.mark.parametrize(("value", "expected"), [("always", 200), ("before_start", 409)])
async def test_a_candidate_that_pulls_the_plug(driver: InterviewDriver, value: str, expected: int) -> None:
    """It disconnects on purpose in the middle of the conversation, and comes back after the grace for another try."""
    await set_rejoin(driver, value)
    made = await driver.new()
    await driver.talk(made)
    driver.later(60)
    await driver.goes(made, reason="CONNECTION_TIMEOUT")
    driver.later(25 * 3600)
    await driver.hears(made, "room_finished")  # any event has the due deadline decided
    assert (await driver.get(made))["endReason"] == "CONNECTION_LOST"
    assert (await driver.join(made)).status_code == expected
    assert (await driver.get(made))["attempt"] == (2 if expected == 200 else 1)


async def test_an_organizations_setting_applies_to_no_other(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    async with sessions.begin() as session:
        session.add(Organization(name="strict", company_name="", instructions_template="x", max_duration=60))
        await session.flush()
        await session.execute(
            update(Organization).where(Organization.name == "strict").values(rejoin_after_failure="never")
        )
    made = await ended(driver, sessions, Status.FAILED)
    assert (await driver.join(made)).status_code == 200


@pytest.mark.parametrize("value", [None, "", "sometimes", True])
async def test_another_value_is_refused(driver: InterviewDriver, value: object) -> None:
    answer = await driver.client.patch("/organization", headers=AUTHORIZED, json={"rejoinAfterFailure": value})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["rejoinAfterFailure"]


async def test_twenty_at_once_open_one_attempt(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    app = create_app(settings, sessions)
    async with client_of(app) as client:
        driver = InterviewDriver(app, client)
        made = await driver.new()
        await driver.fails(made)
        answers = await asyncio.gather(*(driver.join(made) for _ in range(20)))
        assert Counter(answer.status_code for answer in answers) == {200: 20}
        assert {answer.json()["roomName"] for answer in answers} == {f"{made['roomName']}-2"}
        timeline = (await client.get(f"/interviews/{made['interviewId']}/timeline", headers=AUTHORIZED)).json()
        assert [entry["name"] for entry in timeline["data"]].count("attempt_opened") == 1
        assert (await driver.get(made))["joinAttempts"] == 20


async def test_joins_and_reopens_at_once_open_one_attempt(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    app = create_app(settings, sessions)
    async with client_of(app) as client:
        driver = InterviewDriver(app, client)
        made = await driver.new()
        await driver.fails(made)
        joins = [driver.join(made) for _ in range(8)]
        reopens = [driver.call(made, "reopen") for _ in range(8)]
        answers = await asyncio.gather(*joins, *reopens)
        assert {answer.status_code for answer in answers[:8]} == {200}
        assert set(Counter(answer.status_code for answer in answers[8:])) <= {200, 409}
        assert (await driver.get(made))["attempt"] == 2

"""An erasure concurrent with webhooks, joins, reports and other erasures, on committed rows."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_sessionmaker
from app.interviews.erasure import erase_owned
from app.lifecycle import Status
from app.models import Connection, Interview, JoinRequest, WrongTry
from tests import livekit_webhooks
from tests.conftest import AUTHORIZED
from tests.e2e.conditions import eventually
from tests.interview_driver import NEW, InterviewDriver
from tests.join_client import WRONG, behind
from tests.stored import places_of

NEEDLES = ("Layla", "966509876543", "candidate-c", "agent-AJ", "Tabuk")
WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
async def driver(own_engine: AsyncEngine) -> AsyncIterator[InterviewDriver]:
    async with behind(create_sessionmaker(own_engine), "phone") as driver:
        yield driver


async def failed(driver: InterviewDriver) -> dict[str, Any]:
    """Return an interview that FAILED: the next join would open another attempt."""
    made = await driver.new(participantName="Layla")
    await driver.fails(made)
    return made


async def erase(driver: InterviewDriver, made: dict[str, Any]) -> httpx.Response:
    return await driver.client.delete(f"/interviews/{made['interviewId']}/personal-data", headers=AUTHORIZED)


async def try_join(
    driver: InterviewDriver, made: dict[str, Any], number: str = str(NEW["phoneNumber"])
) -> httpx.Response:
    body = {"phoneNumber": number}
    return await driver.client.post(f"/interviews/{made['interviewId']}/join", json=body)


async def joins_room(driver: InterviewDriver, made: dict[str, Any], sid: str, at: datetime) -> None:
    kind, identity = ("AGENT", "agent-AJ_9") if int(sid[3:]) % 2 else ("STANDARD", "candidate-c")
    await driver.hears(
        made,
        "participant_joined",
        at=at,
        participant=livekit_webhooks.participant(sid, identity, joined_at=at, kind=kind),
    )


async def test_concurrent_calls_leave_no_personal_data(driver: InterviewDriver, own_engine: AsyncEngine) -> None:
    """In whatever order they run, none of them leaves a name, a number or an address."""
    made = await failed(driver)
    at = driver.now + timedelta(seconds=1)
    calls: list[Any] = []
    for number in range(12):
        calls += [joins_room(driver, made, f"PA_{number}", at), try_join(driver, made)]
        calls.append(driver.complete(made, "failed", summary="To Tabuk.", result=["Tabuk"]))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in calls]
        await asyncio.sleep(0)
        erasing = [group.create_task(erase(driver, made)) for _ in range(3)]
    responses = [task.result() for task in tasks if task.result() is not None]
    assert {response.status_code for response in responses} <= {200, 409, 410}
    codes = {each.result().status_code for each in erasing}
    if codes == {409}:  # a join has opened the next attempt: it is not over
        assert (await driver.call(made, "cancel")).status_code == 200
        assert (await erase(driver, made)).status_code == 204
    sessions = create_sessionmaker(own_engine)
    after = await places_of(sessions, NEEDLES)
    # LiveKit chooses sids; the test driver makes them of the identity.
    assert {needle: places - {"connections.sid", "timeline.detail"} for needle, places in after.items()} == {
        needle: set() for needle in NEEDLES
    }
    async with sessions() as session:
        assert set(await session.scalars(select(JoinRequest.address))) <= {None}
        assert set(await session.scalars(select(Connection.identity))) <= {"candidate", "agent"}


async def wait_for_blocked_transaction(engine: AsyncEngine) -> None:
    async def is_anyone_waiting() -> bool:
        async with engine.connect() as connection:
            return bool(await connection.scalar(WAITING))

    await eventually(is_anyone_waiting)


async def test_a_join_during_an_erasure_waits_and_stores_no_address(
    driver: InterviewDriver, own_engine: AsyncEngine
) -> None:
    """With a wrong number, whose join stores the address without reading the row again."""
    made = await failed(driver)
    sessions = create_sessionmaker(own_engine)
    async with sessions.begin() as session:
        owner = (await session.scalars(select(Interview.organization_id))).one()
        await erase_owned(session, organization_id=owner, interview_id=UUID(made["interviewId"]), now=driver.now)
        joining = asyncio.create_task(try_join(driver, made, WRONG))
        await wait_for_blocked_transaction(own_engine)
    response = await joining
    assert (response.status_code, response.json()["code"]) == (410, "interview_erased")
    async with sessions() as session:
        assert set(await session.scalars(select(JoinRequest.address))) <= {None}
        assert (await session.scalars(select(WrongTry.address))).all() == []


async def test_a_join_that_has_read_the_interview_stores_no_address(
    driver: InterviewDriver, own_engine: AsyncEngine
) -> None:
    """It read the interview while that was open, and records the join once it is cancelled and erased."""
    made = await driver.new()
    sessions = create_sessionmaker(own_engine)
    async with sessions.begin() as session:
        query = select(Interview).where(Interview.id == made["interviewId"]).with_for_update()
        interview = (await session.scalars(query)).one()
        joining = asyncio.create_task(try_join(driver, made))
        await wait_for_blocked_transaction(own_engine)
        interview.status, interview.personal_data_erased_at = Status.CANCELLED, driver.now
    response = await joining
    assert (response.status_code, response.json()["code"]) == (410, "interview_erased")
    async with sessions() as session:
        assert (await session.scalars(select(JoinRequest.answer))).all() == []

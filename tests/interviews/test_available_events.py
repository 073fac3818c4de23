"""The events that tell of a result or a transcript: when they are sent, once, and what they hold."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.models import Change
from app.webhooks.payload import payload_of
from tests.conftest import AUTHORIZED
from tests.interview_driver import AGENT, InterviewDriver
from tests.stored import everything
from tests.transcripts import append, appended, line, livekit_was_asked

Sessions = async_sessionmaker[AsyncSession]

RESULT, TRANSCRIPT = "interview.result_available", "interview.transcript_available"
REPORT: dict[str, Any] = {"summary": "Strong.", "result": {"score": 4}}


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def payloads(sessions: Sessions, *types: str) -> list[Any]:
    """Return what was sent of these types."""
    async with sessions() as session:
        changes = (await session.scalars(select(Change).order_by(Change.id))).all()
    assert [each.sequence for each in changes] == list(range(1, len(changes) + 1))
    return [payload_of(each) for each in changes if each.type in types]


async def test_after_the_report_both_can_be_read(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await driver.talk(made)
    await appended(driver.client, made, line(1))
    driver.later(30)
    reported = (await driver.complete(made, **REPORT)).json()
    result, transcript = sorted(await payloads(sessions, RESULT, TRANSCRIPT), key=lambda each: str(each["type"]))
    common = {
        "interviewId": made["interviewId"], "status": "COMPLETED", "previousStatus": "COMPLETED",
        "endReason": "AGENT_REPORTED", "attempt": 1,
    }  # fmt: skip
    path = f"/interviews/{made['interviewId']}"
    assert transcript["data"] == common | {"sequence": 5, "path": f"{path}/transcript?attempt=1"}
    assert result["data"] == common | {"sequence": 6, "path": path}
    assert reported["sequence"] == (await driver.get(made))["sequence"] == 6
    for each in (result, transcript):
        answer = await driver.client.get(each["data"]["path"], headers=AUTHORIZED)
        assert answer.status_code == 200
    assert answer.json()["data"][0]["text"] == "Hello."


async def test_a_repeated_report_is_no_news(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await driver.talk(made)
    driver.later(30)
    for report in (REPORT, REPORT, REPORT | {"result": {"score": True}}, REPORT | {"result": {"score": 1}}):
        assert (await driver.complete(made, **report)).status_code == 200
        driver.later(1)
    assert len(await payloads(sessions, RESULT)) == 3


@pytest.mark.parametrize("report", [{}, {"summary": None, "result": None}])
async def test_an_outcome_alone_is_no_result(
    driver: InterviewDriver, sessions: Sessions, report: dict[str, Any]
) -> None:
    made = await driver.new()
    await driver.talk(made)
    driver.later(30)
    await driver.complete(made, **report)
    assert await payloads(sessions, RESULT, TRANSCRIPT) == []


async def test_a_result_after_the_maximum_duration(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new(maxDuration=60)
    await driver.talk(made)
    driver.later(61)
    await livekit_was_asked(sessions, made, at=driver.now)
    await driver.call(made, "cancel")  # it is over already, and only now noticed
    before = await driver.get(made)
    assert before["endReason"] == "MAX_DURATION_REACHED"
    assert await payloads(sessions, RESULT) == []
    driver.later(5)
    await driver.complete(made, **REPORT)
    (event,) = await payloads(sessions, RESULT)
    after = await driver.get(made)
    assert event["data"]["endReason"] == "MAX_DURATION_REACHED"
    assert after["result"] == REPORT["result"]
    assert (after["sequence"], after["updatedAt"]) == (before["sequence"] + 1, event["timestamp"])


async def test_an_end_by_a_webhook(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await driver.talk(made)
    await appended(driver.client, made, line(1))
    driver.later(30)
    assert await payloads(sessions, TRANSCRIPT) == []
    await driver.goes(made, AGENT)
    assert (await driver.get(made))["endReason"] == "AGENT_LEFT"
    (event,) = await payloads(sessions, TRANSCRIPT)
    assert event["data"]["previousStatus"] == event["data"]["status"] == "COMPLETED"
    assert (await driver.get(made))["sequence"] == event["data"]["sequence"]


async def test_a_correction_is_no_second_end(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await appended(driver.client, made, line(1))
    await driver.fails(made)
    driver.later(10)
    assert (await driver.complete(made)).json()["status"] == "COMPLETED"
    assert len(await payloads(sessions, TRANSCRIPT)) == 1


async def test_an_attempt_without_lines_has_none(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await appended(driver.client, made, line(1))
    await driver.fails(made)
    assert (await driver.join(made)).status_code == 200
    assert (await driver.call(made, "cancel")).json()["attempt"] == 2
    (event,) = await payloads(sessions, TRANSCRIPT)
    assert event["data"]["attempt"] == 1


async def test_lines_after_the_end_are_told_of(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await driver.fails(made)
    assert await payloads(sessions, TRANSCRIPT) == []
    for lines in ([line(1)], [line(1)], [line(1), line(2)]):
        driver.later(1)
        await appended(driver.client, made, *lines)
    first, second = await payloads(sessions, TRANSCRIPT)
    assert (first["data"]["status"], first["data"]["attempt"]) == ("FAILED", 1)
    found = await driver.get(made)
    assert (found["sequence"], found["updatedAt"]) == (second["data"]["sequence"], second["timestamp"])
    assert (await driver.join(made)).status_code == 200
    await appended(driver.client, made, line(3))
    *_, last = await payloads(sessions, TRANSCRIPT)
    assert (last["data"]["status"], last["data"]["attempt"]) == ("READY_TO_JOIN", 1)
    assert str(last["data"]["path"]).endswith("?attempt=1")


async def test_while_it_runs_lines_are_no_events(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    before = await driver.get(made)
    driver.later(1)
    await appended(driver.client, made, line(1))
    assert await payloads(sessions, TRANSCRIPT) == []
    assert await driver.get(made) == before | {"transcriptLines": 1}


async def test_endpoints_may_ask_for_them_alone(driver: InterviewDriver, sessions: Sessions) -> None:
    body = {"url": "https://hooks.example/x", "eventTypes": [RESULT, TRANSCRIPT]}
    assert (await driver.client.post("/webhook-endpoints", headers=AUTHORIZED, json=body)).status_code == 201
    made = await driver.new()
    await driver.talk(made)
    await appended(driver.client, made, line(1))
    driver.later(30)
    await driver.complete(made, **REPORT)
    assert len([each for each in await everything(sessions) if (each.table, each.column) == ("deliveries", "id")]) == 2


async def test_the_context_says_how_much_time_is_left(driver: InterviewDriver) -> None:
    made = await driver.new(maxDuration=60)

    async def seconds_left() -> Any:
        path = f"/interviews/{made['interviewId']}/context"
        return (await driver.client.get(path, headers=AUTHORIZED)).json()["secondsLeft"]

    assert await seconds_left() is None
    await driver.talk(made)
    started = (await driver.get(made))["startedAt"]
    driver.passed += timedelta(seconds=20)
    assert await seconds_left() in (39, 40), started
    driver.later(100)
    assert await seconds_left() == 0


async def test_erased_lines_are_not_announced(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await driver.fails(made)
    path = f"/interviews/{made['interviewId']}/personal-data"
    assert (await driver.client.delete(path, headers=AUTHORIZED)).status_code == 204
    assert (await append(driver.client, made, line(1))).json()["code"] == "interview_erased"
    assert await payloads(sessions, TRANSCRIPT) == []

"""A recruiter's reason for a cancel or a reopening: on the timeline, and erased with the personal data."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import AUTHORIZED
from tests.interview_driver import InterviewDriver

REASON = "Layla has withdrawn: {who} <b>&"


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def timeline(driver: InterviewDriver, interview: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await driver.client.get(f"/interviews/{interview['interviewId']}/timeline", headers=AUTHORIZED)
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_the_timeline_shows_the_reasons(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert (await driver.call(made, "cancel", json={"reason": REASON})).status_code == 200
    assert (await driver.call(made, "cancel", json={"reason": "another"})).status_code == 200
    assert (await driver.call(made, "reopen", json={"reason": "It was a mistake"})).status_code == 200
    shown = {entry["name"]: entry for entry in await timeline(driver, made) if "reason" in entry["detail"]}
    assert shown["cancelled"]["detail"]["reason"] == REASON
    assert shown["cancelled"]["text"] == f'The interview was cancelled. Reason given: "{REASON}"'
    assert shown["attempt_opened"]["detail"]["reason"] == "It was a mistake"
    assert shown["attempt_opened"]["text"].endswith('opened it again. Reason given: "It was a mistake"')
    assert "another" not in str(await timeline(driver, made))


@pytest.mark.parametrize("given", [{}, {"json": {}}, {"json": {"reason": None}}], ids=["no_body", "empty", "null"])
async def test_a_reason_is_optional(driver: InterviewDriver, given: dict[str, Any]) -> None:
    made = await driver.new()
    for name in ("cancel", "reopen"):
        assert (await driver.call(made, name, **given)).status_code == 200
    assert "Reason given" not in str(await timeline(driver, made))


@pytest.mark.parametrize(
    "reason", ["", " ", "\u200b", "\u2800\u3164\u00a0", "x" * 257, "a\0b", 7, ["x"]], ids=lambda each: repr(each)[:12]
)
async def test_a_reason_is_a_text_of_256_characters_that_shows_something(
    driver: InterviewDriver, reason: object
) -> None:
    made = await driver.new()
    refused = await driver.call(made, "cancel", json={"reason": reason})
    assert (refused.status_code, [each["field"] for each in refused.json()["errors"]]) == (422, ["reason"])
    assert (await driver.get(made))["status"] == "READY_TO_JOIN"
    assert (await driver.call(made, "cancel", json={"reason": "ä" * 256})).status_code == 200


async def test_an_erasure_leaves_no_reason(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.talk(made)
    await driver.goes(made)
    for name in ("cancel", "reopen", "cancel"):
        assert (await driver.call(made, name, json={"reason": REASON})).status_code == 200
    assert "Layla" in str(await timeline(driver, made))
    path = f"/interviews/{made['interviewId']}/personal-data"
    assert (await driver.client.delete(path, headers=AUTHORIZED)).status_code == 204
    entries = await timeline(driver, made)
    assert "Layla" not in str(entries)
    assert [entry["detail"]["reason"] for entry in entries if entry["name"] == "participant_left"] == [
        "CLIENT_INITIATED"
    ]

"""Cancel, reopen and complete over HTTP: every response in the design."""

import json
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import hash_key
from app.models import ApiKey, Organization
from tests.conftest import AUTHORIZED
from tests.interview_driver import AGENT, InterviewDriver

KB = 1024


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


def refused(answer: httpx.Response, code: str) -> None:
    assert answer.status_code == 409, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code


async def key_of(
    sessions: async_sessionmaker[AsyncSession], *scopes: str, organization: str = "default"
) -> dict[str, str]:
    key = f"ik_{uuid.uuid4().hex}"
    async with sessions.begin() as session:
        found = await session.run_sync(lambda sync: sync.query(Organization).filter_by(name=organization).first())
        if found is None:
            found = Organization(name=organization, company_name="c", instructions_template="t", max_duration=60)
            session.add(found)
            await session.flush()
        values = {"organization_id": found.id, "name": key, "key_hash": hash_key(key), "scopes": list(scopes)}
        await session.execute(insert(ApiKey).values(values))
    return {"Authorization": f"Bearer {key}"}


class TestCancel:
    async def test_before_anybody_came(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        answer = await driver.call(made, "cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
        assert answer.json()["endedAt"]
        assert answer.json()["endReason"] is None

    async def test_during_the_conversation(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        driver.later(30)
        found = (await driver.call(made, "cancel")).json()
        assert (found["status"], found["talkTime"]) == ("CANCELLED", 30)

    async def test_cancelling_again_changes_nothing(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        first = (await driver.call(made, "cancel")).json()
        driver.later(60)
        again = await driver.call(made, "cancel")
        assert (again.status_code, again.json()) == (200, first)

    async def test_what_ended_otherwise_is_over(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        await driver.complete(made)
        answer = await driver.call(made, "cancel")
        refused(answer, "interview_over")
        assert answer.json()["interviewStatus"] == "COMPLETED"

    async def test_a_cancelled_interview_cannot_be_joined(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.call(made, "cancel")
        refused(await driver.join(made), "interview_over")

    async def test_a_deadline_that_was_due_before_is_not_overruled(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.comes(made)
        driver.later(91)
        answer = await driver.call(made, "cancel")
        assert answer.status_code == 200
        assert answer.json()["status"] == "WAITING_FOR_AGENT", "undecided until LiveKit was asked"


class TestReopen:
    async def test_only_what_is_over(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        refused(await driver.call(made, "reopen"), "interview_not_over")
        await driver.talk(made)
        refused(await driver.call(made, "reopen"), "interview_not_over")

    @pytest.mark.parametrize("body", [None, {}, {"closesAt": None}])
    async def test_a_new_attempt_has_a_new_room(self, driver: InterviewDriver, body: dict[str, Any] | None) -> None:
        made = await driver.new()
        await driver.talk(made)
        await driver.complete(made, result={"score": 1}, summary="good")
        answer = await driver.call(made, "reopen", **({} if body is None else {"json": body}))
        found = answer.json()
        assert (answer.status_code, found["status"], found["attempt"]) == (200, "READY_TO_JOIN", 2)
        assert found["roomName"] == f"{made['roomName']}-2"
        assert (found["startedAt"], found["endedAt"], found["endReason"], found["talkTime"]) == (None, None, None, 0)
        assert found["connected"] == []
        assert (await driver.get(made))["summary"] is None
        assert (await driver.join(made)).json()["roomName"] == found["roomName"]

    async def test_any_terminal_status(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        for number in range(2, 6):
            await driver.call(made, "cancel")
            assert (await driver.call(made, "reopen")).json()["attempt"] == number

    async def test_with_a_new_end(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.call(made, "cancel")
        closes_at = (driver.now + timedelta(hours=1)).isoformat()
        assert (await driver.call(made, "reopen", json={"closesAt": closes_at})).json()["closesAt"]

    @pytest.mark.parametrize("body", ['{"closesAt": "2020-01-01T00:00:00Z"}', '{"closesAt": 1}', '{"x": 1}', "[", "7"])
    async def test_an_invalid_body(self, driver: InterviewDriver, body: str) -> None:
        made = await driver.new()
        await driver.call(made, "cancel")
        headers = AUTHORIZED | {"Content-Type": "application/json"}
        answer = await driver.call(made, "reopen", content=body, headers=headers)
        assert answer.status_code == 422, answer.text
        assert (await driver.get(made))["attempt"] == 1

    async def test_a_late_webhook_of_the_frozen_attempt_changes_nothing(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        await driver.call(made, "cancel")
        await driver.call(made, "reopen")
        await driver.goes(made, AGENT, outcome="completed")
        await driver.goes(made)
        found = await driver.get(made)
        assert (found["attempt"], found["status"], found["connected"]) == (2, "READY_TO_JOIN", [])


class TestComplete:
    async def test_completed(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        driver.later(300)
        answer = await driver.complete(made, summary="went well", result={"score": 7, "نص": [1.5, None, True]})
        assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
        found = await driver.get(made)
        assert (found["endReason"], found["talkTime"]) == ("AGENT_REPORTED", 300)
        assert (found["summary"], found["result"]) == ("went well", {"score": 7, "نص": [1.5, None, True]})

    async def test_failed(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        found = (await driver.complete(made, "failed")).json()
        assert (found["status"], found["endReason"]) == ("FAILED", "AGENT_REPORTED")

    async def test_repeating_the_report(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        first = (await driver.complete(made, result=1)).json()
        driver.later(3600)
        again = await driver.complete(made, result=1)
        assert (again.status_code, again.json()) == (200, first)

    async def test_the_last_summary_of_an_outcome_stands(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        for outcome, summary in (("completed", "1"), ("completed", "2")):
            driver.later(1)
            assert (await driver.complete(made, outcome, summary=summary)).status_code == 200
            assert (await driver.get(made))["summary"] == summary
        assert (await driver.get(made))["status"] == "COMPLETED"

    async def test_before_the_start(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        refused(await driver.complete(made), "not_started")
        await driver.comes(made)
        refused(await driver.complete(made), "not_started")

    async def test_after_a_cancel(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        await driver.call(made, "cancel")
        refused(await driver.complete(made), "interview_over")

    async def test_of_a_frozen_attempt(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.fails(made)
        assert (await driver.join(made)).status_code == 200
        refused(await driver.complete(made), "wrong_room")

    @pytest.mark.parametrize("room", ["", "somewhere", "interview-\0", "x" * 256])
    async def test_of_another_room(self, driver: InterviewDriver, room: str) -> None:
        made = await driver.new()
        await driver.talk(made)
        refused(await driver.complete(made, roomName=room), "wrong_room")

    @pytest.mark.parametrize(("minutes", "status"), [(14.9, "COMPLETED"), (15.1, "FAILED")])
    async def test_it_amends_for_fifteen_minutes(self, driver: InterviewDriver, minutes: float, status: str) -> None:
        made = await driver.new()
        await driver.fails(made)
        ended = await driver.get(made)
        driver.later(minutes * 60)
        answer = await driver.complete(made)
        assert (answer.status_code, answer.json()["status"]) == (200, status)
        found = await driver.get(made)
        assert (found["endedAt"], found["talkTime"]) == (ended["endedAt"], ended["talkTime"])

    async def test_failed_does_not_beat_completed(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.talk(made)
        await driver.complete(made)
        driver.later(5)
        assert (await driver.complete(made, "failed")).json()["status"] == "COMPLETED"


NASTY = {
    "NUL in a string": '{"a": "x\\u0000y"}',
    "NUL in a key": '{"a\\u0000": 1}',
    "NUL deep inside": '[[{"a": ["\\u0000"]}]]',
    "a lone surrogate": '{"a": "\\ud800"}',
    "a lone surrogate in a key": '{"\\udfff": 1}',
    "NaN": "NaN",
    "Infinity": '{"a": Infinity}',
    "a number beyond all floats": '{"a": 1e999}',
    "a number of 5,000 digits": "9" * 5000,
    "a number of 4,000 digits": "9" * 4000,
    "deep nesting": "[" * 50_000 + "]" * 50_000,
    "nesting of 150": "[" * 150 + "]" * 150,
    "nesting of 210": '{"a":' * 210 + "1" + "}" * 210,
    "the same key twice": '{"a": 1, "a": 2}',
    "all of Unicode": json.dumps({"text": "😀\U0010ffff\ufffe\u2028"}),
    "a small fraction": "1e-400",
    "an empty key": '{"": {}}',
}


class TestResults:
    async def post(self, driver: InterviewDriver, made: dict[str, Any], result: str) -> httpx.Response:
        body = f'{{"roomName": "{made["roomName"]}", "outcome": "completed", "result": {result}}}'
        headers = AUTHORIZED | {"Content-Type": "application/json"}
        return await driver.call(made, "complete", content=body.encode(), headers=headers)

    @pytest.mark.parametrize("name", NASTY)
    async def test_it_is_stored_or_refused_but_never_a_500(self, driver: InterviewDriver, name: str) -> None:
        made = await driver.new()
        await driver.talk(made)
        answer = await self.post(driver, made, NASTY[name])
        assert answer.status_code in (200, 422), answer.text
        found = await driver.get(made)
        assert found["status"] == ("COMPLETED" if answer.status_code == 200 else "IN_PROGRESS")
        if answer.status_code == 200 and name not in ("the same key twice", "a small fraction"):
            assert found["result"] == json.loads(NASTY[name])

    @pytest.mark.parametrize(
        ("size", "expected"), [(256 * KB - 100, {200}), (257 * KB, {413, 422}), (2048 * KB, {413})]
    )
    async def test_up_to_256_kb(self, driver: InterviewDriver, size: int, expected: set[int]) -> None:
        made = await driver.new()
        await driver.talk(made)
        answer = await self.post(driver, made, json.dumps("x" * size))
        assert answer.status_code in expected

    @pytest.mark.parametrize(
        "body",
        ["", "{}", "[]", '{"roomName": 1, "outcome": "completed"}', '{"roomName": "r", "outcome": "pending"}', "\xff"],
    )
    async def test_what_is_no_report(self, driver: InterviewDriver, body: str) -> None:
        made = await driver.new()
        await driver.talk(made)
        answer = await driver.call(made, "complete", content=body.encode("latin-1"))
        assert answer.status_code == 422
        assert answer.json()["errors"]

    @pytest.mark.parametrize("summary", ["a\0b", "x" * 20_001, "\ud800"])
    async def test_an_unusable_summary(self, driver: InterviewDriver, summary: str) -> None:
        made = await driver.new()
        await driver.talk(made)
        body = json.dumps({"roomName": made["roomName"], "outcome": "completed", "summary": summary})
        assert (await driver.call(made, "complete", content=body)).status_code == 422


class TestWhoMay:
    @pytest.mark.parametrize("call", ["cancel", "reopen", "complete"])
    async def test_not_without_a_key(self, driver: InterviewDriver, call: str) -> None:
        made = await driver.new()
        body = {"roomName": made["roomName"], "outcome": "completed"} if call == "complete" else None
        assert (await driver.call(made, call, json=body, headers={})).status_code == 401

    @pytest.mark.parametrize(
        ("call", "scope", "enough"),
        [
            ("cancel", "interviews:write", True),
            ("cancel", "interviews:read", False),
            ("cancel", "agent", False),
            ("reopen", "interviews:write", True),
            ("reopen", "agent", False),
            ("complete", "agent", True),
            ("complete", "interviews:write", False),
        ],
    )
    async def test_with_the_scope(
        self, driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], call: str, scope: str, enough: bool
    ) -> None:
        made = await driver.new()
        await driver.talk(made)
        if call == "reopen":
            await driver.call(made, "cancel")
        headers = await key_of(sessions, scope)
        body = {"roomName": made["roomName"], "outcome": "completed"} if call == "complete" else None
        answer = await driver.call(made, call, headers=headers, json=body)
        assert answer.status_code == (200 if enough else 403), answer.text

    @pytest.mark.parametrize("call", ["cancel", "reopen", "complete"])
    async def test_another_organizations_interview_is_not_there(
        self, driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], call: str
    ) -> None:
        made = await driver.new()
        await driver.talk(made)
        headers = await key_of(sessions, "interviews:write", "agent", organization="another")
        body = {"roomName": made["roomName"], "outcome": "completed"} if call == "complete" else None
        answer = await driver.call(made, call, headers=headers, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "interview_not_found")
        assert (await driver.get(made))["status"] == "IN_PROGRESS"

    @pytest.mark.parametrize("interview_id", ["00000000-0000-4000-8000-000000000000", "no-id"])
    async def test_no_such_interview(self, driver: InterviewDriver, interview_id: str) -> None:
        for call in ("cancel", "reopen"):
            assert (await driver.call({"interviewId": interview_id}, call)).status_code == 404

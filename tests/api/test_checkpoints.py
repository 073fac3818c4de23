"""Checkpoints: the newest agent's newest place counts, in the live attempt only."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.timestamps import rfc3339
from app.interviews import checkpoints
from tests.calls import problem_of
from tests.conftest import AUTHORIZED
from tests.interview_driver import InterviewDriver
from tests.transcripts import get_checkpoint, put_checkpoint

A, B, C = "agent-A", "agent-B", "agent-C"


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def test_it_comes_back_as_it_was_stored(driver: InterviewDriver) -> None:
    made = await driver.new()
    problem_of(await get_checkpoint(driver.client, made), 404, "no_checkpoint")
    state = {"question": 3, "notes": ["نعم", 1.5, True, None]}
    answer = await put_checkpoint(driver.client, made, 0, state)
    assert (answer.status_code, answer.content) == (204, b"")
    answer = await get_checkpoint(driver.client, made)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {
        "roomName": made["roomName"], "agent": "agent-AJ_1", "sequence": 0, "state": state,
        "updatedAt": rfc3339(driver.now),
    }  # fmt: skip


@pytest.mark.parametrize("state", [None, [], {}, "", 0, False, [None], 12.5])
async def test_any_json_is_a_state(driver: InterviewDriver, state: Any) -> None:
    made = await driver.new()
    for _ in range(2):
        assert (await put_checkpoint(driver.client, made, 1, state)).status_code == 204
    stored = (await get_checkpoint(driver.client, made)).json()["state"]
    assert json.dumps(stored) == json.dumps(state)


async def test_the_sequence_of_an_agent_rises(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert (await put_checkpoint(driver.client, made, 5, {"a": 1})).status_code == 204
    stored = (await get_checkpoint(driver.client, made)).json()
    driver.later(5)
    assert (await put_checkpoint(driver.client, made, 5, {"a": 1.0})).status_code == 204
    for sequence, state in ((5, {"a": True}), (4, {"a": 1}), (0, {})):
        answer = await put_checkpoint(driver.client, made, sequence, state)
        assert problem_of(answer, 409, "checkpoint_outdated")["sequence"] == 5
    assert (await get_checkpoint(driver.client, made)).json() == stored
    assert (await put_checkpoint(driver.client, made, 6.0, {})).status_code == 204  # JSON has one kind of number
    assert (await put_checkpoint(driver.client, made, 2**63 - 1, {})).status_code == 204
    assert (await get_checkpoint(driver.client, made)).json()["sequence"] == 2**63 - 1


async def test_an_agent_that_was_replaced_is_refused(driver: InterviewDriver) -> None:
    made = await driver.new()
    for agent, sequence in ((A, 9), (B, 1), (C, 0)):
        assert (await put_checkpoint(driver.client, made, sequence, agent, agent=agent)).status_code == 204
    for agent in (A, B):
        for sequence in (0, 9, 100):
            answer = await put_checkpoint(driver.client, made, sequence, agent, agent=agent)
            problem_of(answer, 409, "agent_replaced")
    assert (await put_checkpoint(driver.client, made, 1, C, agent=C)).status_code == 204
    assert (await get_checkpoint(driver.client, made)).json()["state"] == C


async def test_only_so_many_earlier_agents_are_remembered(
    driver: InterviewDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "MAX_EARLIER_AGENTS", 2)
    made = await driver.new()
    for agent in (A, B, C, "agent-D"):
        assert (await put_checkpoint(driver.client, made, 1, agent, agent=agent)).status_code == 204
    for agent in (B, C):
        problem_of(await put_checkpoint(driver.client, made, 2, agent, agent=agent), 409, "agent_replaced")


async def test_a_new_attempt_starts_without_one(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert (await put_checkpoint(driver.client, made, 9, "first", agent=A)).status_code == 204
    assert (await put_checkpoint(driver.client, made, 9, "second", agent=B)).status_code == 204
    await driver.fails(made)
    problem = problem_of(await put_checkpoint(driver.client, made, 10, "late", agent=B), 409, "interview_over")
    assert problem["interviewStatus"] == "FAILED"
    assert (await get_checkpoint(driver.client, made)).json()["state"] == "second"
    assert (await driver.join(made)).status_code == 200
    problem_of(await get_checkpoint(driver.client, made), 404, "no_checkpoint")
    again = await driver.get(made)
    problem = problem_of(await put_checkpoint(driver.client, made, 11, "late", agent=B), 409, "wrong_room")
    assert problem["roomName"] == again["roomName"]
    assert (await put_checkpoint(driver.client, again, 0, "third", agent=A)).status_code == 204
    assert (await get_checkpoint(driver.client, made)).json()["roomName"] == again["roomName"]


@pytest.mark.parametrize("largest", ["x" * 65_534, "ل" * 32_767], ids=["ascii", "arabic"])
async def test_the_largest_state(driver: InterviewDriver, largest: str) -> None:
    made = await driver.new()
    path = f"/interviews/{made['interviewId']}/checkpoint"
    body = {"roomName": made["roomName"], "agent": A, "sequence": 1, "state": largest}
    assert (await driver.client.put(path, headers=AUTHORIZED, content=json.dumps(body))).status_code == 204
    assert (await get_checkpoint(driver.client, made)).json()["state"] == largest
    (fault,) = problem_of(await put_checkpoint(driver.client, made, 2, largest + "x"), 422, "payload_invalid")["errors"]
    assert fault == {"field": "state", "message": "must be at most 65536 bytes as JSON"}
    problem_of(await put_checkpoint(driver.client, made, 2, "x" * 300_000), 413, "body_too_large")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**63}, "sequence"),
        ({"sequence": "1"}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"sequence": 1.5}, "sequence"),
        ({"agent": ""}, "agent"),
        ({"agent": "a\0"}, "agent"),
        ({"state": ["a\0"]}, "state"),
        ({"state": float("nan")}, "state"),
        ({"stage": 1}, "stage"),
    ],
)
async def test_a_body_that_is_not_valid(driver: InterviewDriver, changed: dict[str, Any], field: str) -> None:
    made = await driver.new()
    body = {"roomName": made["roomName"], "agent": A, "sequence": 1, "state": 1} | changed
    path = f"/interviews/{made['interviewId']}/checkpoint"
    answer = await driver.client.put(path, headers=AUTHORIZED, content=json.dumps(body))
    assert [fault["field"] for fault in problem_of(answer, 422, "payload_invalid")["errors"]] == [field]
    problem_of(await get_checkpoint(driver.client, made), 404, "no_checkpoint")


async def test_the_state_is_required(driver: InterviewDriver) -> None:
    made = await driver.new()
    path = f"/interviews/{made['interviewId']}/checkpoint"
    answer = await driver.client.put(path, headers=AUTHORIZED, json={})
    faults = problem_of(answer, 422, "payload_invalid")["errors"]
    assert {fault["field"] for fault in faults} == {"roomName", "agent", "sequence", "state"}

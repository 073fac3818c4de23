"""LiveKit's standard token endpoint: a join in the format of LiveKit's own clients."""

import uuid
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews.stored_facts import TOKEN_ISSUED
from app.main import create_app
from app.models import JoinRequest, RefusedJoins
from tests.calls import claims_of, problem_of
from tests.conftest import LIVEKIT_SECRET, client_of, make_settings
from tests.interview_driver import InterviewDriver

TIMES = {"nbf", "exp"}


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


def claims(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    return claims_of(answer.json()["participant_token"])


def fields(answer: httpx.Response) -> set[str]:
    problem = problem_of(answer, 422, "token_field_not_allowed")
    return {each["field"] for each in problem["errors"]}


async def answers_of(sessions: async_sessionmaker[AsyncSession], interview: dict[str, Any]) -> list[str]:
    """Return the answers of the joins that are stored one by one, then those of which only the number is."""
    async with sessions() as session:
        found: list[str] = []
        for table in (JoinRequest, RefusedJoins):
            query = select(table.answer).where(table.interview_id == uuid.UUID(interview["interviewId"]))
            found += await session.scalars(query.order_by(table.id))
        return found


@pytest.mark.parametrize("body", [b"", b"{}", b'{"room_name": null, "room_config": null}'])
async def test_without_options_the_token_is_that_of_join(driver: InterviewDriver, body: bytes) -> None:
    made = await driver.new()
    answer = await driver.call(made, "token", content=body, headers={})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json().keys() == {"server_url", "participant_token"}
    joined = (await driver.join(made)).json()
    assert answer.json()["server_url"] == joined["serverUrl"]
    ours, joins = claims(answer), claims_of(joined["participantToken"])
    assert {**ours, **dict.fromkeys(TIMES)} == {**joins, **dict.fromkeys(TIMES)}


async def test_a_token_is_recorded_as_a_join(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new()
    await driver.call(made, "token")
    await driver.join(made)
    assert await answers_of(sessions, made) == [TOKEN_ISSUED, TOKEN_ISSUED]
    shown = await driver.get(made)
    assert (shown["joinAttempts"], shown["status"]) == (2, "READY_TO_JOIN")


async def test_what_refuses_join_refuses_a_token(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat())
    early = await driver.call(made, "token")
    assert problem_of(early, 409, "too_early")["opensAt"] == made["opensAt"]
    assert early.headers["Retry-After"] == "3601"
    await driver.call(made, "cancel")
    over = await driver.call(made, "token")
    assert problem_of(over, 409, "interview_over")["interviewStatus"] == "CANCELLED"
    assert await answers_of(sessions, made) == ["too_early", "interview_over"]
    problem_of(await driver.call({"interviewId": uuid.uuid4()}, "token"), 404, "interview_not_found")
    problem_of(await driver.call({"interviewId": "none"}, "token"), 404, "interview_not_found")


async def test_a_token_for_a_failed_interview_opens_a_new_attempt(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.fails(made)
    refused = await driver.call(made, "token", json={"participant_name": "Somebody else"})
    assert fields(refused) == {"participant_name"}
    assert (await driver.get(made))["attempt"] == 1  # a client that can't join costs none of the three attempts
    again = await driver.call(made, "token")
    later = jwt.decode(again.json()["participant_token"], LIVEKIT_SECRET, ["HS256"], {"verify_nbf": False})
    assert later["video"]["room"] == f"{made['roomName']}-2"


WISHES: list[tuple[str, Any]] = [
    ("room_name", "another-room"),
    ("participant_name", "Somebody"),
    ("participant_identity", "admin"),
    ("participant_metadata", '{"status":"COMPLETED"}'),
    ("participant_attributes", {"interview.outcome": "completed"}),
    ("room_config", {"agents": [{"agent_name": "another"}]}),
    ("room_config", {"agents": [{"metadata": "x"}]}),
    ("room_config", {"empty_timeout": 86_400}),
    ("room_config", {"name": "preset"}),
    ("room_config", {"egress": {"room": {"room_name": "x"}}}),
]


@pytest.mark.parametrize(("field", "value"), WISHES)
async def test_what_a_client_may_not_say(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession], field: str, value: Any
) -> None:
    made = await driver.new()
    first, *others = field.split("_")
    for spelling in (field, first + "".join(map(str.capitalize, others))):  # it is named as the client spelled it
        assert fields(await driver.call(made, "token", json={spelling: value})) == {spelling}
    assert await answers_of(sessions, made) == []


async def test_fields_equal_to_the_interviews_are_accepted(app: FastAPI) -> None:
    settings = make_settings(agent_name="interviewer")
    async with client_of(own := create_app(settings, app.state.services.sessions)) as client:
        driver = InterviewDriver(own, client)
        made = await driver.new()
        ours = claims(await driver.call(made, "token"))
        wishes = {
            "room_name": ours["video"]["room"],
            "participant_name": ours["name"],
            "participant_identity": ours["sub"],
            "participant_metadata": ours["metadata"],
            "participant_attributes": {},
            "room_config": {"agents": [{"agent_name": "interviewer"}], "departure_timeout": 125, "emptyTimeout": 300},
        }
        assert claims(await driver.call(made, "token", json=wishes)) == ours
        two = {"agents": [{"agent_name": "interviewer"}, {"agent_name": "interviewer"}]}
        assert fields(await driver.call(made, "token", json={"room_config": two})) == {"room_config"}


@pytest.mark.parametrize(
    "body",
    [
        {"room_name": "", "participant_name": "", "participant_attributes": {}, "room_config": {}},
        {"room_config": {"name": "", "agents": [], "maxParticipants": 0, "egress": None}},
        {"room_config": {"agents": [{"agent_name": "", "metadata": ""}]}},
        {"what_a_later_client_sends": 1},
    ],
)
async def test_empty_and_unknown_fields_are_ignored(driver: InterviewDriver, body: dict[str, Any]) -> None:
    claims(await driver.call(await driver.new(), "token", json=body))


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"room_name": 1}', b'{"participant_attributes": {"a": 1}}', b'{"room_config": []}', b"{"],
)
async def test_a_body_of_another_shape(driver: InterviewDriver, body: bytes) -> None:
    problem_of(await driver.call(await driver.new(), "token", content=body), 422, "payload_invalid")


@pytest.mark.parametrize("depth", [9, 200, 900, 5_000])
async def test_a_deep_body(driver: InterviewDriver, depth: int) -> None:
    deep = b'{"room_config": ' + b'{"a":' * depth + b"1" + b"}" * (depth + 1)
    problem_of(await driver.call(await driver.new(), "token", content=deep), 422, "payload_invalid")


async def test_a_page_may_ask_with_headers_of_its_own(driver: InterviewDriver) -> None:
    """TokenSource.endpoint(url, {headers}) sends any headers that the developer sets."""
    made = await driver.new()
    preflight = await driver.client.options(
        f"/interviews/{made['interviewId']}/token",
        headers={
            "Origin": "http://localhost:5173",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, x-session, x-sandbox-id",
        },
    )
    assert preflight.status_code == 200
    sendable = preflight.headers["Access-Control-Allow-Headers"]
    assert all(name in sendable for name in ("content-type", "x-session", "x-sandbox-id"))

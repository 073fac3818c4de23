"""The private context: any JSON, for the agent only."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, hash_key
from app.models import ApiKey, Organization
from tests.calls import NEW, claims_of, join, problem_of, scheduled
from tests.conftest import AUTHORIZED

SECRET = "the rubric's secret"  # noqa: S105 - not one of those
CONTEXT = {"rubric": [SECRET, 1.5, True, None], "cv": "سيرة"}


async def context_of(client: httpx.AsyncClient, interview: dict[str, Any]) -> Any:
    answer = await client.get(f"/interviews/{interview['interviewId']}/context", headers=AUTHORIZED)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json().keys() == {"context", "secondsLeft"}
    return answer.json()["context"]


async def edited(client: httpx.AsyncClient, interview: dict[str, Any], context: Any) -> httpx.Response:
    path = f"/interviews/{interview['interviewId']}"
    return await client.patch(path, headers=AUTHORIZED, content=json.dumps({"context": context}))


@pytest.mark.parametrize("context", [CONTEXT, [], {}, "", 0, False, [None], "text", 12.5])
async def test_any_json_comes_back_as_it_was_given(client: httpx.AsyncClient, context: Any) -> None:
    made = await scheduled(client, context=context)
    assert json.dumps(await context_of(client, made), sort_keys=True) == json.dumps(context, sort_keys=True)


async def test_the_context_is_optional(client: httpx.AsyncClient) -> None:
    for given in ({}, {"context": None}):
        assert await context_of(client, await scheduled(client, **given)) is None


async def test_it_can_be_edited_and_removed(client: httpx.AsyncClient) -> None:
    made = await scheduled(client, context={"a": 1})
    for context in ({"a": True}, {"a": 1.0}, CONTEXT, None):  # to Python the first two are no change
        answer = await edited(client, made, context)
        assert answer.status_code == 200
        assert json.dumps(await context_of(client, made), sort_keys=True) == json.dumps(context, sort_keys=True)
    assert answer.json()["sequence"] == 5


async def test_a_merge_patch_replaces_it_as_a_whole(client: httpx.AsyncClient) -> None:
    made = await scheduled(client, context={"a": 1, "b": 2})
    await edited(client, made, {"b": 3})
    assert await context_of(client, made) == {"b": 3}


async def test_only_the_agent_can_read_it(client: httpx.AsyncClient) -> None:
    made = await scheduled(client, context=CONTEXT)
    other = await edited(client, made, [SECRET])
    path = f"/interviews/{made['interviewId']}"
    answers = [other, await join(client, made)]
    for where in (path, f"{path}/timeline", "/interviews"):
        answers.append(await client.get(where, headers=AUTHORIZED))
    answers.append(await client.post(f"{path}/cancel", headers=AUTHORIZED))
    assert {each.status_code for each in answers} == {200}
    for each in answers:
        assert SECRET not in each.text
        assert '"context":' not in each.text
    assert SECRET not in str(claims_of(answers[1].json()["participantToken"]))


async def test_it_does_not_count_towards_the_token(client: httpx.AsyncClient) -> None:
    made = await scheduled(client, context="x" * 65_000)
    assert (await join(client, made)).status_code == 200


@pytest.mark.parametrize("largest", ["x" * 65_534, "ل" * 32_767], ids=["ascii", "arabic"])
async def test_its_size_is_that_of_its_utf8(client: httpx.AsyncClient, largest: str) -> None:
    made = await scheduled(client, context=largest)  # escaped, the Arabic one is three times as long on its way
    assert await context_of(client, made) == largest
    answer = await client.post("/interviews", headers=AUTHORIZED, json=NEW | {"context": largest + "x"})
    (fault,) = problem_of(answer, 422, "payload_invalid")["errors"]
    assert fault["field"] == "context"
    (fault,) = problem_of(await edited(client, made, largest + "x"), 422, "payload_invalid")["errors"]
    assert fault["field"] == "context"


@pytest.mark.parametrize("context", ["a\0b", {"a\0": 1}, "\ud800", [float("nan")], float("inf")], ids=repr)
async def test_what_cannot_be_stored_is_refused(client: httpx.AsyncClient, context: Any) -> None:
    body = json.dumps(NEW | {"context": context})
    answer = await client.post("/interviews", headers=AUTHORIZED, content=body)
    assert [fault["field"] for fault in problem_of(answer, 422, "payload_invalid")["errors"]] == ["context"]


async def test_another_organizations_is_not_found(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await scheduled(client, context=CONTEXT)
    async with sessions.begin() as session:
        other = Organization(name="other", company_name="x", instructions_template="x", max_duration=60)
        session.add(other)
        await session.flush()
        key = ApiKey(organization_id=other.id, name="other", key_hash=hash_key("ik_other"), scopes=[Scope.AGENT])
        session.add(key)
    path = f"/interviews/{made['interviewId']}/context"
    answer = await client.get(path, headers={"Authorization": "Bearer ik_other"})
    problem_of(answer, 404, "interview_not_found")

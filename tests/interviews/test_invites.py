"""Invites: created, reused, replaced, revoked, expired. All invalid ones get the same answer."""

import logging
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, hash_key
from app.models import ApiKey, Organization
from tests.calls import instant, problem_of
from tests.conftest import API_KEY, AUTHORIZED
from tests.interview_driver import InterviewDriver
from tests.join_client import RIGHT, behind, invited, timeline_calls, try_join

Sessions = async_sessionmaker[AsyncSession]
URL = "https://jobs.example/interview/{interviewId}#invite={secret}"


@pytest.fixture
async def driver(sessions: Sessions) -> AsyncIterator[InterviewDriver]:
    async with behind(sessions, "invite", invite_url=URL) as driver:
        yield driver


async def test_the_link_of_an_invite(driver: InterviewDriver) -> None:
    made = await driver.new()
    answer = await driver.call(made, "invite")
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    found = answer.json()
    assert found.keys() == {"interviewId", "invite", "url", "expiresAt"}
    secret = found["invite"]
    assert secret.startswith("inv_")
    assert len(bytes.fromhex(secret.removeprefix("inv_"))) * 8 >= 128
    assert found["url"] == f"https://jobs.example/interview/{made['interviewId']}#invite={secret}"
    assert (await try_join(driver, made, invite=secret)).status_code == 200
    assert await timeline_calls(driver, made) == ["scheduled", "invited", "TOKEN_ISSUED"]


async def test_without_a_template_there_is_no_link(sessions: Sessions) -> None:
    outside = {
        "environment": "production",
        "livekit_api_key": "APIkey",
        "livekit_url": "wss://livekit.example",
        "allowed_origins": ("https://jobs.example",),
        "database_url": "postgresql://db.example/interviews",
    }
    async with behind(sessions, "invite", **outside) as driver:
        answer = await driver.call(await driver.new(), "invite")
        assert answer.json()["url"] is None
        assert answer.json()["invite"]


async def test_no_two_secrets_are_alike(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert len({await invited(driver, made) for _ in range(20)}) == 20


async def test_it_may_be_used_again_and_in_the_header(driver: InterviewDriver) -> None:
    made = await driver.new()
    secret = await invited(driver, made)
    for body in ({"invite": secret}, {"bearer": secret}, {"invite": secret, "bearer": "inv_old"}, {"invite": secret}):
        assert (await try_join(driver, made, **body)).status_code == 200
    for scheme in ("bearer", "BEARER"):
        answer = await driver.call(made, "join", headers={"Authorization": f"{scheme} {secret}"})
        assert answer.status_code == 200
    assert (await timeline_calls(driver, made))[2:] == ["TOKEN_ISSUED"] * 6


async def test_what_is_no_invite_is_refused_in_the_same_words(driver: InterviewDriver) -> None:
    made, other = await driver.new(), await driver.new()
    revoked = await invited(driver, made)
    deleted = await invited(driver, made)
    path = f"/interviews/{made['interviewId']}/invite"
    for _ in range(2):
        assert (await driver.client.delete(path, headers=AUTHORIZED)).status_code == 204
    right = await invited(driver, made)
    wrong = {
        "revoked": revoked,
        "deleted": deleted,
        "foreign": await invited(driver, other),
        "guessed": "inv_" + "0" * 40,
        "shorter": right[:-1],
        "longer": right + "0",
        "upper": right.upper(),
        "no prefix": right.removeprefix("inv_"),
        "another kind": API_KEY,
        "half a character": "\ud800",
        "NUL": "\0",
        "long": "x" * 20_000,
    }
    answers = []
    for number, guess in enumerate(wrong.values()):
        if guess == "\ud800":
            path = f"/interviews/{made['interviewId']}/join"
            answers.append(await driver.client.post(path, content=b'{"invite": "\\ud800"}'))
        else:
            answers.append(await try_join(driver, made, at_address=f"203.0.113.{100 + number}", invite=guess))
    answers.append(await try_join(driver, await driver.new(), invite=right))  # never invited
    driver.later(31 * 86_400)
    answers.append(await try_join(driver, made, invite=right))
    bodies = []
    for answer in answers:
        problem = problem_of(answer, 403, "invite_invalid")
        bodies.append({name: value for name, value in problem.items() if name != "requestId"})
    assert all(body == bodies[0] for body in bodies)
    names = await timeline_calls(driver, made)
    assert names.count("invite_revoked") == 1
    assert names.count("invite_invalid") == len(wrong) + 1


async def test_a_missing_invite(driver: InterviewDriver) -> None:
    made = await driver.new()
    await invited(driver, made)
    for body in ({}, {"invite": ""}, {"invite": None}, {"phoneNumber": RIGHT}, {"bearer": API_KEY}, {"bearer": "inv"}):
        answer = await try_join(driver, made, **body)
        problem_of(answer, 401, "invite_required")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_it_is_never_read_from_the_url(driver: InterviewDriver) -> None:
    """URLs are logged, here and by each proxy."""
    made = await driver.new()
    secret = await invited(driver, made)
    path = f"/interviews/{made['interviewId']}/join"
    for query in (f"?invite={secret}", f"?Authorization=Bearer%20{secret}", f"?access_token={secret}"):
        problem_of(await driver.client.post(path + query), 422, "payload_invalid")
    assert (await driver.client.post(f"{path}/{secret}")).status_code == 404


async def test_until_when_it_holds(driver: InterviewDriver) -> None:
    closes_at = driver.now.replace(microsecond=0) + timedelta(hours=2)
    closing, endless = await driver.new(closesAt=closes_at.isoformat()), await driver.new()

    async def expiry(interview: dict[str, Any], **body: Any) -> timedelta:
        found = instant((await driver.call(interview, "invite", json=body)).json()["expiresAt"])
        return found - driver.now.replace(microsecond=found.microsecond)

    assert await expiry(closing) == timedelta(hours=2.5)
    assert await expiry(endless) == timedelta(days=30)
    expires_at = (driver.now + timedelta(minutes=10)).isoformat()
    assert await expiry(closing, expiresAt=expires_at) == timedelta(minutes=10)
    secret = await invited(driver, closing, expiresAt=expires_at)
    driver.later(599)
    assert (await try_join(driver, closing, invite=secret)).status_code == 200
    driver.later(1)
    problem_of(await try_join(driver, closing, invite=secret), 403, "invite_invalid")


@pytest.mark.parametrize(
    "body",
    [{"expiresAt": "2020-01-01T00:00:00Z"}, {"expiresAt": "soon"}, {"expiresAt": "9999-01-01T00:00:00Z"}, {"x": 1}],
)
async def test_an_expiry_that_can_not_be(driver: InterviewDriver, body: dict[str, Any]) -> None:
    problem_of(await driver.call(await driver.new(), "invite", json=body), 422, "payload_invalid")


async def test_no_invite_after_the_end(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.call(made, "cancel")
    assert problem_of(await driver.call(made, "invite"), 409, "interview_over")["interviewStatus"] == "CANCELLED"
    failed = await driver.new()
    await driver.fails(failed)
    secret = await invited(driver, failed)  # after a fault of the platform the candidate may rejoin
    assert (await try_join(driver, failed, invite=secret)).json()["roomName"].endswith("-2")


@pytest.mark.parametrize("policy", ["open", "phone"])
async def test_it_works_under_the_other_policies_too(sessions: Sessions, policy: str) -> None:
    async with behind(sessions, policy) as driver:
        made = await driver.new()
        secret = await invited(driver, made)
        assert (await try_join(driver, made, invite=secret)).status_code == 200
        assert (await try_join(driver, made, bearer=secret)).status_code == 200
        assert (await try_join(driver, made, invite="inv_old", phoneNumber=RIGHT)).status_code == 200


async def test_under_phone_a_wrong_invite_alone_is_refused(sessions: Sessions) -> None:
    async with behind(sessions, "phone") as driver:
        problem_of(await try_join(driver, await driver.new(), invite="inv_wrong"), 403, "invite_invalid")


async def test_another_organization_can_not_invite(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    right = await invited(driver, made)
    async with sessions.begin() as session:
        another = Organization(name="another", company_name="B", instructions_template="", max_duration=60)
        session.add(another)
        await session.flush()
        scopes = [scope.value for scope in Scope]
        session.add(ApiKey(organization_id=another.id, name="x", key_hash=hash_key("ik_another"), scopes=scopes))
    headers = {"Authorization": "Bearer ik_another"}
    path = f"/interviews/{made['interviewId']}/invite"
    nowhere = f"/interviews/{uuid.uuid4()}/invite"
    for method in ("POST", "DELETE"):
        foreign = await driver.client.request(method, path, headers=headers)
        missing = await driver.client.request(method, nowhere, headers=headers)
        problem_of(foreign, 404, "interview_not_found")
        assert foreign.json()["detail"] == missing.json()["detail"]
    assert (await try_join(driver, made, invite=right)).status_code == 200


async def test_the_secret_is_neither_stored_nor_logged(
    driver: InterviewDriver, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await driver.new()
    secret = await invited(driver, made)
    await try_join(driver, made, invite=secret)
    await try_join(driver, made, bearer=secret)
    random = secret.removeprefix("inv_")
    async with sessions() as session:
        tables = (
            await session.scalars(text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"))
        ).all()
        assert "interviews" in tables
        for table in tables:
            rows = (await session.scalars(text(f"SELECT t::text FROM {table} t"))).all()  # noqa: S608 - from pg_tables
            stored = "\n".join(rows)
            assert random not in stored
            assert secret.encode().hex() not in stored
    assert caplog.text
    assert random not in caplog.text

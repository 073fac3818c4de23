"""Join policies: who may join under each, which of two applies, and what a stranger learns."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_sessionmaker
from app.core.settings import JoinPolicy, stricter
from app.interviews.join_queries import MAX_TRIES
from app.models import Interview, JoinRequest, Organization
from tests.calls import claims_of, problem_of
from tests.conftest import AUTHORIZED
from tests.interview_driver import InterviewDriver
from tests.join_client import RIGHT, WRONG, behind, invited, timeline_calls, try_join

Sessions = async_sessionmaker[AsyncSession]
READ_AND_APPEND = ["SELECT", "WITH"]


@pytest.fixture
async def by_phone(sessions: Sessions) -> AsyncIterator[InterviewDriver]:
    async with behind(sessions, "phone") as driver:
        yield driver


async def set_own(driver: InterviewDriver, policy: str | None) -> dict[str, Any]:
    answer = await driver.client.patch("/organization", headers=AUTHORIZED, json={"joinPolicy": policy})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_number_on_file_may_join(by_phone: InterviewDriver) -> None:
    made = await by_phone.new()
    for phone_number in ("966509876543", RIGHT, "00966509876543", "٠٠٩٦٦٥٠٩٨٧٦٥٤٣", "+۹۶۶۵۰۹۸۷۶۵۴۳", 966509876543):
        answer = await try_join(by_phone, made, phoneNumber=phone_number)
        assert answer.status_code == 200, phone_number
    claims = claims_of(answer.json()["participantToken"])
    assert json.loads(claims["metadata"])["phoneNumber"] == "966509876543"  # as it was given
    assert await timeline_calls(by_phone, made) == ["scheduled", *["TOKEN_ISSUED"] * 6]


async def test_another_number_does_not(by_phone: InterviewDriver) -> None:
    made = await by_phone.new()
    for phone_number in (WRONG, "12345", "6543", "9665098765430"):
        problem = problem_of(await try_join(by_phone, made, phoneNumber=phone_number), 403, "wrong_phone_number")
        words = {name: text for name, text in problem.items() if name != "requestId"}  # which may spell any digits
        assert "9876543" not in str(words)
        assert phone_number not in str(words)
    assert await timeline_calls(by_phone, made) == ["scheduled", *["wrong_phone_number"] * 4]
    assert (await by_phone.get(made))["joinAttempts"] == 4


@pytest.mark.parametrize("phone_number", [RIGHT, "966509876543.0", "abc"], ids=["whole", "of a spreadsheet", "none"])
async def test_what_is_no_phone_number_is_named_and_reveals_nothing(
    sessions: Sessions, by_phone: InterviewDriver, phone_number: str
) -> None:
    """The answer is the same whatever is on file, and it is no guess: it does not use up the tries."""
    made = await by_phone.new()
    async with sessions.begin() as session:
        stored = update(Interview).where(Interview.id == made["interviewId"])
        await session.execute(stored.values(phone_number=phone_number))
    for typed, reason in {
        "966509876543.0": 'the character "." at position 13 makes it a decimal number, as in a spreadsheet',
        "509876543E+3": 'the character "E" at position 10 can\'t be part of it',
        "\u202a\u202c": "it has no digits",
    }.items():
        for _ in range(MAX_TRIES):
            problem = problem_of(await try_join(by_phone, made, phoneNumber=typed), 422, "phone_number_unreadable")
            assert problem["detail"] == f"Correct the phone number: {reason}."
            assert problem["errors"] == [{"field": "phoneNumber", "message": f"must be a phone number: {reason}"}]
    entries = await timeline_calls(by_phone, made)
    assert set(entries[1:]) == {"phone_number_unreadable"}
    if phone_number != "abc":  # what an earlier release stored is compared by what was meant
        for number in ("966509876543", 966509876543.0, "\u202a+966 50 987 6543\u202c"):
            assert (await try_join(by_phone, made, phoneNumber=number)).status_code == 200


async def test_numbers_are_only_read_where_they_are_compared(sessions: Sessions) -> None:
    async with behind(sessions, "open") as driver:
        made = await driver.new()
        assert (await try_join(driver, made, phoneNumber="my number")).status_code == 200
        problem_of(await try_join(driver, made, phoneNumber=5.5), 422, "payload_invalid")


@pytest.mark.parametrize("body", [{}, {"phoneNumber": None}, {"phoneNumber": ""}])
async def test_without_a_number_the_frontend_has_to_ask(by_phone: InterviewDriver, body: dict[str, Any]) -> None:
    made = await by_phone.new()
    answer = await try_join(by_phone, made, **body)
    problem_of(answer, 401, "phone_number_required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await timeline_calls(by_phone, made) == ["scheduled", "phone_number_required"]


async def test_a_number_that_can_not_be_compared_is_refused_when_it_is_scheduled(by_phone: InterviewDriver) -> None:
    body = {"candidateId": "c", "applicationId": "a", "jobPostId": "j", "jobTitle": "D", "phoneNumber": "0509876543"}
    answer = await by_phone.client.post("/interviews", headers=AUTHORIZED, json=body)
    problem = problem_of(answer, 422, "payload_invalid")
    assert [each["field"] for each in problem["errors"]] == ["phoneNumber"]
    assert "0509876543" not in str(problem)


async def test_a_number_on_file_that_can_not_be_compared(sessions: Sessions) -> None:
    async with behind(sessions, "open") as driver:
        made = await driver.new(phoneNumber="0509876543")
        await set_own(driver, "phone")
        for phone_number in ("0509876543", RIGHT):
            problem = problem_of(await try_join(driver, made, phoneNumber=phone_number), 403, "phone_number_unusable")
            assert "509876543" not in str(problem)
        invite = await invited(driver, made)
        assert (await try_join(driver, made, phoneNumber="0509876543", invite=invite)).status_code == 200
        assert (await timeline_calls(driver, made))[1] == "phone_number_unusable"


async def test_open_asks_for_nothing(sessions: Sessions) -> None:
    async with behind(sessions, "open") as driver:
        made = await driver.new()
        for body in ({}, {"phoneNumber": WRONG}, {"invite": "inv_wrong"}):
            assert (await try_join(driver, made, **body)).status_code == 200
        async with sessions() as session:
            assert set(await session.scalars(select(JoinRequest.address))) == {None}  # no address is stored


@pytest.mark.parametrize("policy", ["phone", "invite"])
async def test_a_stranger_learns_nothing_of_the_interview(sessions: Sessions, policy: str) -> None:
    async with behind(sessions, policy) as driver:
        opens_at = driver.now + timedelta(hours=1)
        made = await driver.new(opensAt=opens_at.isoformat())
        codes = {"phone": ("phone_number_required", "wrong_phone_number"), "invite": ("invite_required",) * 2}[policy]
        early = await try_join(driver, made, phoneNumber=WRONG), await try_join(driver, made)
        await driver.call(made, "cancel")
        over = await try_join(driver, made, phoneNumber=WRONG), await try_join(driver, made)
        assert [answer.json()["code"] for answer in (*early, *over)] == [codes[1], codes[0]] * 2
        for answer in (*early, *over):
            assert not {"opensAt", "interviewStatus"} & answer.json().keys()


@pytest.mark.parametrize("policy", ["phone", "invite"])
async def test_a_caller_who_may_join_learns_of_too_early_and_over(sessions: Sessions, policy: str) -> None:
    async with behind(sessions, policy) as driver:
        made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat())
        body = {"phoneNumber": RIGHT} if policy == "phone" else {"invite": await invited(driver, made)}
        early = await try_join(driver, made, **body)
        assert problem_of(early, 409, "too_early")["opensAt"] == made["opensAt"]
        await driver.call(made, "cancel")
        over = await try_join(driver, made, **body)
        assert problem_of(over, 409, "interview_over")["interviewStatus"] == "CANCELLED"


async def test_only_who_may_join_opens_the_next_attempt(by_phone: InterviewDriver) -> None:
    made = await by_phone.new()
    await by_phone.fails(made)
    for body in ({"phoneNumber": WRONG}, {}, {"invite": "inv_wrong"}):
        await try_join(by_phone, made, **body)
    assert (await by_phone.get(made))["attempt"] == 1
    assert (await try_join(by_phone, made, phoneNumber=RIGHT)).json()["roomName"] == f"{made['roomName']}-2"
    assert (await by_phone.get(made))["attempt"] == 2


async def test_the_token_endpoint_has_the_same_policy(by_phone: InterviewDriver) -> None:
    made = await by_phone.new()
    problem_of(await by_phone.call(made, "token"), 401, "phone_number_required")
    problem_of(await by_phone.call(made, "token", json={"phone_number": WRONG}), 403, "wrong_phone_number")
    other_name = {"participant_name": "Another"}
    problem_of(await by_phone.call(made, "token", json=other_name | {"phone_number": WRONG}), 403, "wrong_phone_number")
    for body in ({"phone_number": RIGHT}, {"phoneNumber": 966509876543}, {"invite": await invited(by_phone, made)}):
        assert (await by_phone.call(made, "token", json=body, headers={})).status_code == 201
    header = {"Authorization": f"Bearer {await invited(by_phone, made)}"}
    assert (await by_phone.call(made, "token", json={"room_name": ""}, headers=header)).status_code == 201


@pytest.mark.parametrize("deployment", list(JoinPolicy))
@pytest.mark.parametrize("own", [None, *JoinPolicy])
async def test_the_stricter_of_two_holds(sessions: Sessions, deployment: JoinPolicy, own: JoinPolicy | None) -> None:
    order = ["open", "phone", "invite"]
    expected = max(deployment, own or deployment, key=order.index)
    assert stricter(deployment, own) is expected
    async with behind(sessions, deployment) as driver:
        shown = await set_own(driver, own)
        policies = {"joinPolicy": own, "effectiveJoinPolicy": expected}
        assert shown == {"name": "default", **policies, "rejoinAfterFailure": "always"}
        assert (await driver.client.get("/organization", headers=AUTHORIZED)).json() == shown
        made = await driver.new()
        statuses = [(await try_join(driver, made, **body)).status_code for body in ({}, {"phoneNumber": RIGHT})]
        assert statuses == {"open": [200, 200], "phone": [401, 200], "invite": [401, 401]}[expected]


async def test_an_organizations_policy_applies_to_no_other(sessions: Sessions) -> None:
    async with behind(sessions, "open") as driver:
        made = await driver.new()
        async with sessions.begin() as session:
            values = {"company_name": "B", "instructions_template": "", "max_duration": 60, "join_policy": "invite"}
            session.add(Organization(name="another", **values))
        assert (await try_join(driver, made)).status_code == 200


async def test_what_is_left_out_stays_and_what_is_unknown_is_refused(by_phone: InterviewDriver) -> None:
    await set_own(by_phone, "invite")
    for body in ({"joinPolicy": "everybody"}, {"joinPolicy": 1}, {"name": "mine"}, {"join_policy": "open"}):
        answer = await by_phone.client.patch("/organization", headers=AUTHORIZED, json=body)
        problem_of(answer, 422, "payload_invalid")
    answer = await by_phone.client.patch("/organization", headers=AUTHORIZED, json={})
    assert answer.json()["joinPolicy"] == "invite"
    assert (await set_own(by_phone, None))["effectiveJoinPolicy"] == "phone"


async def test_the_database_takes_no_other_policy(sessions: Sessions) -> None:
    for column in ("join_policy", "rejoin_after_failure"):
        async with sessions() as session:
            with pytest.raises(Exception, match=f"ck_organizations_{column}"):
                await session.execute(text(f"UPDATE organizations SET {column} = 'Phone'"))  # noqa: S608 - our names


async def test_a_policy_set_by_hand_holds_at_once(sessions: Sessions) -> None:
    async with behind(sessions, "open") as driver:
        made = await driver.new()
        async with sessions.begin() as session:
            await session.execute(update(Organization).values(join_policy="invite"))
        problem_of(await try_join(driver, made), 401, "invite_required")


@pytest.mark.parametrize("policy", list(JoinPolicy))
async def test_one_read_one_append_and_no_wait_for_a_row(own_engine: AsyncEngine, policy: str) -> None:
    statements: list[str] = []

    def listen(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(lambda logged: statements.append(logged.query.split()[0]))

    async with behind(create_sessionmaker(own_engine), policy) as driver:
        made = await driver.new()
        body = {"phoneNumber": RIGHT, "invite": await invited(driver, made)}
        if policy == "phone":
            del body["invite"]
        async with own_engine.begin() as other:
            await other.execute(select(Interview.id).with_for_update(key_share=True))
            await try_join(driver, made, **body)  # a new connection of asyncpg reads types first
            event.listen(own_engine.sync_engine, "checkout", listen)
            assert (await try_join(driver, made, **body)).status_code == 200
            event.remove(own_engine.sync_engine, "checkout", listen)
    held = ["BEGIN;", *READ_AND_APPEND, "COMMIT;"] if "phoneNumber" in body and policy != "invite" else READ_AND_APPEND
    assert [each for each in statements if each != ";"] == held  # an empty statement is a ping

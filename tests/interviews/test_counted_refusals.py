"""Joins that are refused without a wrong credential leave a count by minute, however many they are."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_sessionmaker, driver_connection
from app.interviews.join_queries import JoinRecord, record_joins
from app.main import create_app
from app.models import Interview, JoinRequest, RefusedJoins
from tests.calls import scheduled
from tests.conftest import AUTHORIZED, client_of, make_settings
from tests.e2e.conditions import eventually
from tests.interview_driver import InterviewDriver
from tests.join_client import RIGHT, WRONG, behind, invited, try_join
from tests.query_plans import fill

Sessions = async_sessionmaker[AsyncSession]
FLOOD = 40


async def stored(sessions: Sessions) -> list[str]:
    """Return the answers of the joins that have a row of their own."""
    async with sessions() as session:
        return list(await session.scalars(select(JoinRequest.answer).order_by(JoinRequest.id)))


async def counts(sessions: Sessions) -> list[tuple[str, int]]:
    async with sessions() as session:
        rows = await session.execute(select(RefusedJoins.answer, RefusedJoins.number).order_by(RefusedJoins.id))
        return [(row.answer, row.number) for row in rows]


async def entries(driver: InterviewDriver, interview: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    """Return the timeline's entries about joins."""
    path, found, cursor = f"/interviews/{interview['interviewId']}/timeline", [], None
    while True:
        params = query | ({"cursor": cursor} if cursor else {})
        page = (await driver.client.get(path, headers=AUTHORIZED, params=params)).json()
        found += [entry for entry in page["data"] if entry["name"] not in ("scheduled", "invited", "cancelled")]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize(
    ("policy", "code"), [("phone", "phone_number_required"), ("invite", "invite_required")], ids=["phone", "invite"]
)
async def test_a_flood_without_a_credential_is_one_row_a_minute(sessions: Sessions, policy: str, code: str) -> None:
    async with behind(sessions, policy) as driver:
        made = await driver.new()
        answers = await asyncio.gather(*(try_join(driver, made) for _ in range(FLOOD)))
        assert {answer.json()["code"] for answer in answers} == {code}
        assert (await stored(sessions), await counts(sessions)) == ([], [(code, FLOOD)])
        driver.later(60)
        await try_join(driver, made)
        assert await counts(sessions) == [(code, FLOOD), (code, 1)]
        assert (await driver.get(made))["joinAttempts"] == 0


async def test_a_lockout_does_not_write_a_row_for_each_try_either(sessions: Sessions) -> None:
    async with behind(sessions, "phone") as driver:
        made = await driver.new()
        for _ in range(5 + FLOOD):
            await try_join(driver, made, phoneNumber=WRONG)
        assert await stored(sessions) == ["wrong_phone_number"] * 5
        assert await counts(sessions) == [("too_many_tries", FLOOD)]
        assert (await driver.get(made))["joinAttempts"] == 5


async def test_who_may_join_and_is_too_early_or_too_late_is_counted(sessions: Sessions) -> None:
    async with behind(sessions, "phone") as driver:
        made = await driver.new(opensAt=(driver.now + timedelta(minutes=1)).isoformat())
        secret = await invited(driver, made)
        for body in ({"phoneNumber": RIGHT}, {"invite": secret}):
            assert (await try_join(driver, made, **body)).json()["code"] == "too_early"
        driver.later(60)
        assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
        await driver.call(made, "cancel")
        for _ in range(3):
            assert (await try_join(driver, made, phoneNumber=RIGHT)).json()["code"] == "interview_over"
        assert await stored(sessions) == ["TOKEN_ISSUED"]
        assert await counts(sessions) == [("too_early", 2), ("interview_over", 3)]
        assert (await driver.get(made))["joinAttempts"] == 1


async def test_an_invite_that_is_wrong_is_a_try_of_its_own(sessions: Sessions) -> None:
    async with behind(sessions, "invite") as driver:
        made = await driver.new()
        for _ in range(2):
            await try_join(driver, made, invite="inv_wrong")
        assert (await stored(sessions), await counts(sessions)) == (["invite_invalid"] * 2, [])


async def test_the_timeline_says_how_many_were_refused_in_which_minute(sessions: Sessions) -> None:
    async with behind(sessions, "phone") as driver:
        made = await driver.new()
        await try_join(driver, made)
        for _ in range(3):
            driver.later(60)
            for _ in range(3):
                await try_join(driver, made)
            assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
        found = await entries(driver, made)
        assert [(entry["name"], entry["detail"]) for entry in found] == [
            ("phone_number_required", {"number": 1}),
            *[("phone_number_required", {"number": 3}), ("TOKEN_ISSUED", {})] * 3,
        ]
        assert found[0]["text"] == "Someone tried to join without a phone number"
        assert found[1]["text"] == "Someone tried to join without a phone number (3 times within a minute)"
        assert await entries(driver, made, limit=1) == found


async def test_an_older_process_may_go_on_storing_refusals_one_by_one(sessions: Sessions) -> None:
    async with behind(sessions, "open") as driver:
        made = await driver.new()
        async with sessions.begin() as session:
            await session.execute(
                text(
                    "INSERT INTO join_requests (interview_id, attempt, at, answer) "
                    "SELECT id, 1, now(), 'too_early' FROM interviews"
                )
            )
        assert [entry["name"] for entry in await entries(driver, made)] == ["too_early"]


async def test_replicas_count_together(own_engine: AsyncEngine) -> None:
    """A deadlock would be a 503."""
    sessions = create_sessionmaker(own_engine)
    settings = make_settings(join_policy="phone")
    async with client_of(create_app(settings, sessions)) as one, client_of(create_app(settings, sessions)) as other:
        ids = [(await scheduled(one))["interviewId"] for _ in range(8)]

        async def flood(client: httpx.AsyncClient, order: list[str]) -> set[int]:
            guess = {"phoneNumber": WRONG}  # makes the batch a transaction, which keeps its locks longer
            bodies = [{}, {}, {}, guess]
            calls = [client.post(f"/interviews/{each}/join", json=body) for each in order for body in bodies]
            return {answer.status_code for answer in await asyncio.gather(*calls)}

        rounds = [flood(client, order) for client, order in ((one, ids), (other, ids[::-1])) for _ in range(5)]
        assert set().union(*await asyncio.gather(*rounds)) <= {401, 403, 429}
    async with sessions() as session:
        refused = select(func.sum(RefusedJoins.number)).where(RefusedJoins.answer == "phone_number_required")
        assert await session.scalar(refused) == 10 * 8 * 3


async def test_batches_of_replicas_do_not_wait_for_each_other_in_a_circle(own_engine: AsyncEngine) -> None:
    """One count is locked until both wait. In the order of the calls each would then hold what the other needs."""
    await fill(own_engine, 2)
    now = datetime.now(UTC)
    async with AsyncSession(own_engine) as session:
        interviews = (await session.scalars(select(Interview).order_by(Interview.id))).all()
    refused = [
        JoinRecord(each.id, each.candidate_id, 1, now, "too_early", None, False, is_counted=True, is_held_back=False)
        for each in interviews
    ]

    async def record(records: list[JoinRecord]) -> None:
        async with AsyncSession(own_engine) as session, session.begin():
            assert len(await record_joins(await driver_connection(session), records, is_durable=False)) == 2

    async def waiting(number: int) -> bool:
        found: int = (await busy.scalars(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).one()
        return found == number

    await record(refused)
    async with AsyncSession(own_engine) as busy:
        first = select(RefusedJoins).where(RefusedJoins.interview_id == interviews[0].id)
        await busy.scalars(first.with_for_update())
        batches = [asyncio.create_task(record(refused))]
        await eventually(lambda: waiting(1))
        batches.append(asyncio.create_task(record(refused[::-1])))
        await eventually(lambda: waiting(2))
        await busy.rollback()
        await asyncio.gather(*batches)
    assert await counts(create_sessionmaker(own_engine)) == [("too_early", 3)] * 2

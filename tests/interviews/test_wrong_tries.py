"""Wrong tries: how many are allowed, for how long, and that a stranger can't lock a candidate out."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_engine, create_sessionmaker
from app.interviews.join_policy import hash_address
from app.interviews.join_queries import tries_lock
from app.models import Interview, WrongTry
from tests.calls import problem_of
from tests.conftest import LIVEKIT_SECRET, prepare
from tests.e2e.conditions import eventually
from tests.interview_driver import InterviewDriver
from tests.join_client import HOME, RIGHT, WRONG, at, behind, invited, timeline_calls, try_join

Sessions = async_sessionmaker[AsyncSession]
STRANGER = "198.51.100.1"


@pytest.fixture
async def driver(sessions: Sessions) -> AsyncIterator[InterviewDriver]:
    async with behind(sessions, "phone") as driver:
        yield driver


async def try_wrong(
    driver: InterviewDriver, interview: dict[str, Any], times: int, *, at_address: str = STRANGER
) -> list[int]:
    return [
        (await try_join(driver, interview, at_address=at_address, phoneNumber=WRONG)).status_code for _ in range(times)
    ]


async def attacked(driver: InterviewDriver, interview: dict[str, Any]) -> None:
    """Use up all the wrong tries that an interview allows in an hour, from ten addresses."""
    for number in range(10):
        assert await try_wrong(driver, interview, 5, at_address=f"198.51.100.{number + 10}") == [403] * 5


async def test_five_in_ten_minutes(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert await try_wrong(driver, made, 4) == [403] * 4
    driver.later(60)
    assert await try_wrong(driver, made, 3) == [403, 429, 429]
    locked = await try_join(driver, made, at_address=STRANGER, phoneNumber=RIGHT)
    problem_of(locked, 429, "too_many_tries")
    assert locked.headers["Retry-After"] == str(9 * 60 + 1)
    assert (await timeline_calls(driver, made))[1:] == ["wrong_phone_number"] * 4 + [
        "wrong_phone_number",
        "too_many_tries",
    ]
    driver.later(9 * 60 - 1)
    assert await try_wrong(driver, made, 1) == [429]
    driver.later(1)
    assert await try_wrong(driver, made, 5) == [403] * 4 + [429]  # the fifth try is still counted
    driver.later(600)
    assert (await try_join(driver, made, at_address=STRANGER, phoneNumber=RIGHT)).status_code == 200


async def test_a_right_number_and_a_locked_out_one_do_not_prolong_it(driver: InterviewDriver) -> None:
    made = await driver.new()
    for _ in range(10):
        assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
    await try_wrong(driver, made, 5)
    for _ in range(9):
        driver.later(60)
        assert await try_wrong(driver, made, 1) == [429]
    driver.later(60)
    assert await try_wrong(driver, made, 1) == [403]


async def test_a_join_without_credentials_is_no_try(driver: InterviewDriver) -> None:
    made = await driver.new()
    for _ in range(10):
        problem_of(await try_join(driver, made), 401, "phone_number_required")
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200


async def test_other_addresses_and_interviews_are_not_locked_out(driver: InterviewDriver) -> None:
    made, other = await driver.new(), await driver.new()
    assert (await try_wrong(driver, made, 6))[-1] == 429
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
    assert (await try_join(driver, other, at_address=STRANGER, phoneNumber=RIGHT)).status_code == 200


@pytest.mark.parametrize("policy", ["phone", "invite"])
async def test_a_right_invite_is_let_in_at_once(sessions: Sessions, policy: str) -> None:
    """From a locked address too: a stranger may share the candidate's router."""
    async with behind(sessions, policy) as driver:
        made = await driver.new()
        secret = await invited(driver, made)
        body = {"phoneNumber": WRONG} if policy == "phone" else {"invite": "inv_wrong"}
        for number in range(10):
            for _ in range(5):
                answer = await try_join(driver, made, at_address=f"198.51.100.{number + 10}", **body)
                assert answer.status_code == 403
        for address in (HOME, "198.51.100.10"):
            problem_of(await try_join(driver, made, at_address=address, **body), 429, "too_many_tries")
            assert (await try_join(driver, made, at_address=address, invite=secret)).status_code == 200
            assert (await try_join(driver, made, at_address=address, bearer=secret)).status_code == 200


async def test_fifty_in_an_hour_from_everywhere(driver: InterviewDriver) -> None:
    made = await driver.new()
    await attacked(driver, made)
    for phone_number in (WRONG, RIGHT):
        locked = await try_join(driver, made, phoneNumber=phone_number)
        problem_of(locked, 429, "too_many_tries")
        assert locked.headers["Retry-After"] == "3601"
    driver.later(3599)
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 429
    driver.later(1)
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200


async def test_who_was_let_in_before_is_not_kept_out_by_strangers(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
    await attacked(driver, made)
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
    assert await try_wrong(driver, made, 6, at_address=HOME) == [403] * 5 + [429]
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 429


async def test_a_locked_out_stranger_opens_no_attempt(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.fails(made)
    await try_wrong(driver, made, 5)
    problem_of(await try_join(driver, made, at_address=STRANGER, phoneNumber=RIGHT), 429, "too_many_tries")
    assert (await driver.get(made))["attempt"] == 1
    assert (await try_join(driver, made, phoneNumber=RIGHT)).status_code == 200
    assert (await driver.get(made))["attempt"] == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),  # one client has the whole network
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:198.51.100.1", "198.51.100.1", True),
        ("198.51.100.1", "198.51.100.2", False),
        ("::1", "::2", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("/run/socket", "unix", False),
    ],
)
async def test_what_counts_as_one_address(driver: InterviewDriver, first: str, second: str, same: bool) -> None:
    made = await driver.new()
    assert await try_wrong(driver, made, 5, at_address=first) == [403] * 5
    assert await try_wrong(driver, made, 1, at_address=second) == [429 if same else 403]


async def test_no_address_is_stored(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await try_wrong(driver, made, 1, at_address="198.51.100.77")
    await try_join(driver, made, at_address="198.51.100.77", phoneNumber=RIGHT)
    async with sessions() as session:
        for table in ("wrong_tries", "join_requests"):
            rows = "\n".join((await session.scalars(text(f"SELECT t::text FROM {table} t"))).all())  # noqa: S608 - above
            assert rows
            assert "198.51.100.77" not in rows
            assert b"198.51.100.77".hex() not in rows
    other = await driver.new()
    key = LIVEKIT_SECRET.encode()
    hashes = {hash_address("198.51.100.77", interview_id=each["interviewId"], key=key) for each in (made, other)}
    hashes.add(hash_address("198.51.100.77", interview_id=made["interviewId"], key=b"another"))
    assert len(hashes) == 3


async def test_expired_tries_are_deleted(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    await try_wrong(driver, made, 3)
    driver.later(3600)
    await try_wrong(driver, made, 1)
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(WrongTry)) == 1


@asynccontextmanager
async def replicas(url: str, policy: str, count: int) -> AsyncIterator[list[InterviewDriver]]:
    """Yield `count` replicas on one database."""
    async with AsyncExitStack() as stack:
        drivers: list[InterviewDriver] = []
        for _ in range(count):
            engine = create_engine(url)
            stack.push_async_callback(engine.dispose)
            if not drivers:
                await prepare(create_sessionmaker(engine))
            drivers.append(await stack.enter_async_context(behind(create_sessionmaker(engine), policy)))
        yield drivers


@pytest.mark.parametrize("beside", [{}, {"invite": "inv_wrong"}])
async def test_brute_force_over_eight_connections_gets_five_tries(own_database: str, beside: dict[str, str]) -> None:
    async with replicas(own_database, "phone", 2) as drivers:
        made = await drivers[0].new()

        async def guess(number: int) -> int:
            phone_number = f"+96650000{number:04}"
            answer = await try_join(drivers[number % 2], made, at_address=STRANGER, phoneNumber=phone_number, **beside)
            return answer.status_code

        answers = Counter(await asyncio.gather(*(guess(number) for number in range(8))))
        assert answers == {403: 5, 429: 3}
        assert Counter(await asyncio.gather(*(guess(number) for number in range(40)))) == {429: 40}
        assert (await try_join(drivers[1], made, phoneNumber=RIGHT)).status_code == 200


async def test_brute_force_from_everywhere_gets_fifty(own_database: str) -> None:
    async with replicas(own_database, "phone", 2) as drivers:
        made = await drivers[0].new()

        async def guess(number: int) -> int:
            address = f"198.51.100.{number}"
            return (await try_join(drivers[number % 2], made, at_address=address, phoneNumber=WRONG)).status_code

        assert Counter(await asyncio.gather(*(guess(number) for number in range(60)))) == {403: 50, 429: 10}


async def test_of_concurrent_guesses_none_beyond_the_fifth_is_checked(own_database: str) -> None:
    """After four wrong guesses eight come at once, one of them right: it joins only if it is the first."""
    async with replicas(own_database, "phone", 2) as drivers:
        for _ in range(5):
            made = await drivers[0].new()
            await try_wrong(drivers[0], made, 4)
            numbers = [WRONG] * 4 + [RIGHT] + [WRONG] * 3
            guesses = [
                try_join(drivers[number % 2], made, at_address=STRANGER, phoneNumber=phone_number)
                for number, phone_number in enumerate(numbers)
            ]
            answers = [answer.status_code for answer in await asyncio.gather(*guesses)]
            assert answers.count(403) == 1
            first = (await timeline_calls(drivers[0], made))[5]
            assert (answers[4] == 200) == (first == "TOKEN_ISSUED")


async def waiting(connection: AsyncConnection) -> bool:
    """Return whether an advisory lock of this database is waited for."""
    here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    blocked = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND {here}"  # noqa: S608
    return bool(await connection.scalar(text(blocked)))


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_right_guess_waits_for_the_wrong_ones_before_it(own_engine: AsyncEngine, is_over: bool) -> None:
    """Otherwise each of a thousand concurrent guesses would count as the first."""
    sessions = create_sessionmaker(own_engine)
    async with behind(sessions, "phone") as driver:
        made = await driver.new()
        if is_over:
            await driver.fails(made)
        async with sessions() as session:
            interview_id = (await session.scalars(select(Interview.id))).one()
        address = hash_address(STRANGER, interview_id=interview_id, key=LIVEKIT_SECRET.encode())
        async with own_engine.connect() as other:
            await other.execute(select(func.pg_advisory_xact_lock(tries_lock(interview_id))))
            right = asyncio.create_task(try_join(driver, made, at_address=STRANGER, phoneNumber=RIGHT))
            async with own_engine.connect() as observer:
                await eventually(lambda: waiting(observer))
            for _ in range(5):
                wrong = {"interview_id": interview_id, "at": driver.now, "address": address}
                await other.execute(insert(WrongTry).values(wrong))
            await other.commit()
        problem_of(await right, 429, "too_many_tries")
        assert (await driver.get(made))["attempt"] == 1


async def test_the_candidate_waits_for_no_strangers_try(own_engine: AsyncEngine) -> None:
    """Neither a valid invite nor a join without credentials takes the lock."""
    sessions = create_sessionmaker(own_engine)
    async with behind(sessions, "phone") as driver:
        made = await driver.new()
        secret = await invited(driver, made)
        async with own_engine.begin() as other:
            interview_id = (await other.scalars(select(Interview.id))).one()
            await other.execute(select(func.pg_advisory_xact_lock(tries_lock(interview_id))))
            assert (await try_join(driver, made, invite=secret)).status_code == 200
            assert (await try_join(driver, made)).status_code == 401


async def test_the_address_is_the_connections_own(driver: InterviewDriver) -> None:
    """Headers of a stranger are ignored."""
    made = await driver.new()
    async with at(driver.app, STRANGER) as client:
        answers: list[httpx.Response] = []
        for number in range(6):
            headers = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"}
            path = f"/interviews/{made['interviewId']}/join"
            answers.append(await client.post(path, json={"phoneNumber": WRONG}, headers=headers))
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert (timedelta(minutes=10) - timedelta(seconds=int(answers[-1].headers["Retry-After"]))) < timedelta(minutes=1)

"""Joins with credentials other than an invite: LiveKit tokens, keys, and guesses over many connections.

Guessed, foreign, expired and revoked invites are in test_invites.py, responses before the start and after the end in
test_join_policies.py, the limits of wrong tries in test_wrong_tries.py.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from tests.attacks.conftest import everything
from tests.calls import NEW, problem_of
from tests.conftest import API_KEY, AUTHORIZED, run_now
from tests.interview_driver import InterviewDriver
from tests.join_client import RIGHT, behind, invited, try_join
from tests.serving import serving

Sessions = async_sessionmaker[AsyncSession]
CONNECTIONS = 8


@pytest.fixture
async def by_invite(sessions: Sessions) -> AsyncIterator[InterviewDriver]:
    async with behind(sessions, "invite") as driver:
        yield driver


async def test_a_token_of_another_interview_is_refused(by_invite: InterviewDriver, sessions: Sessions) -> None:
    """Credentials of one interview, in any place of a request, do not open another interview."""
    one, other = await by_invite.new(), await by_invite.new()
    secret = await invited(by_invite, one)
    await invited(by_invite, other)
    joined = (await try_join(by_invite, one, invite=secret)).json()
    token = joined["participantToken"]
    path = f"/interviews/{other['interviewId']}"
    for number, given in enumerate((token, secret, API_KEY, f"inv_{token}", joined["roomName"], one["interviewId"])):
        address = f"203.0.113.{100 + number}"  # one each, to stay below the limits
        for said in ({"invite": given}, {"bearer": given}, {"phoneNumber": given, "invite": given}):
            answer = await try_join(by_invite, other, at_address=address, **said)
            assert answer.status_code in (401, 403), given
            assert answer.json()["code"] in ("invite_required", "invite_invalid")
            assert "participantToken" not in answer.text
    for name in ("cancel", "reopen", "complete", "invite"):
        for bearer in (token, secret):
            answer = await by_invite.client.post(f"{path}/{name}", headers={"Authorization": f"Bearer {bearer}"})
            problem_of(answer, 401, "unauthorized")
    assert (await by_invite.get(other))["status"] == "READY_TO_JOIN"
    assert token not in await everything(sessions)


@pytest.mark.parametrize("name", ["join", "token"])
async def test_an_invite_is_refused_before_the_start_and_after_the_end(by_invite: InterviewDriver, name: str) -> None:
    made = await by_invite.new(opensAt=(by_invite.now + timedelta(days=365)).isoformat())
    said = {"invite": await invited(by_invite, made)}
    problem_of(await by_invite.call(made, name, json=said, headers={}), 409, "too_early")
    await by_invite.call(made, "cancel")
    problem_of(await by_invite.call(made, name, json=said, headers={}), 409, "interview_over")


async def test_an_invite_can_be_reused_until_it_is_revoked(by_invite: InterviewDriver) -> None:
    """A candidate returns after a lost connection, so a single-use link would lock them out."""
    made = await by_invite.new()
    secret = await invited(by_invite, made)
    for _ in range(3):
        assert (await try_join(by_invite, made, invite=secret)).status_code == 200
    path = f"/interviews/{made['interviewId']}/invite"
    assert (await by_invite.client.delete(path, headers=AUTHORIZED)).status_code == 204
    problem_of(await try_join(by_invite, made, invite=secret), 403, "invite_invalid")


def test_brute_force_over_eight_connections_of_a_running_service(own_database: str, tmp_path: Path) -> None:
    """Over real sockets, as fast as possible: five wrong numbers are checked, and the right number is then refused."""
    with serving(tmp_path, database_url=own_database, JOIN_POLICY="phone") as url:
        made = httpx.post(f"{url}/interviews", headers=AUTHORIZED, json=NEW, timeout=60).json()
        path = f"{url}/interviews/{made['interviewId']}/join"
        guesses = [f"+96650{number:07}" for number in range(100)]
        guesses.insert(60, RIGHT)
        answers = run_now(attack(path, guesses))
        assert answers == {403: 5, 429: len(guesses) - 5}
        assert run_now(tries_in(own_database)) == 5
        assert httpx.post(path, json={"phoneNumber": RIGHT}, timeout=60).status_code == 429


async def attack(url: str, guesses: list[str]) -> Counter[int]:
    """Guess over eight connections at once; count the responses by status."""
    left = iter(guesses)
    answers: Counter[int] = Counter()

    async def guess() -> None:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=1)) as client:
            for number in left:
                answers[(await client.post(url, json={"phoneNumber": number})).status_code] += 1

    await asyncio.gather(*(guess() for _ in range(CONNECTIONS)))
    return answers


async def tries_in(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM wrong_tries"))
    finally:
        await connection.close()

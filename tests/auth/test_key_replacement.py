"""Keys are replaced step by step, as in docs/operations.md, while their callers keep calling."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import BOOTSTRAP_KEY_NAME, ensure_bootstrap_key, revoke_key
from app.interviews.schedule import ensure_default_organization
from app.main import create_app
from tests.auth.test_key_lifetimes import Replicas, answers_of, committed, last_used, new_key, other_engine, replicas
from tests.conftest import API_KEY, client_of, make_settings
from tests.e2e.conditions import eventually
from tests.interview_driver import InterviewDriver
from tests.join_client import RIGHT, WRONG, behind, try_join

__all__ = ["committed", "other_engine", "replicas"]  # fixtures

Sessions = async_sessionmaker[AsyncSession]
NEW_BOOTSTRAP_KEY = "ik_test_1111111111111111111111111111111111"


class Platform:
    """Calls all the time with its current key, one replica after the other, as behind a load balancer."""

    def __init__(self, replicas: Replicas, key: str) -> None:
        self.replicas = list(replicas)
        self.key = key
        self.answers: list[int] = []

    async def keep_calling(self) -> None:
        while True:
            for replica in list(self.replicas):
                headers = {"Authorization": f"Bearer {self.key}"}
                self.answers.append((await replica.get("/interviews", headers=headers)).status_code)

    async def called(self) -> None:
        """Wait until it has called each replica several more times."""
        enough = len(self.answers) + 10
        await eventually(lambda: len(self.answers) >= enough)


@asynccontextmanager
async def calling(replicas: Replicas, key: str) -> AsyncIterator[Platform]:
    platform = Platform(replicas, key)
    task = asyncio.create_task(platform.keep_calling())
    try:
        yield platform
        await platform.called()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert set(platform.answers) == {200}


async def test_an_api_key_is_replaced(replicas: Replicas, committed: Sessions) -> None:
    old_row, old = await new_key(committed)
    async with calling(replicas, old) as platform:
        await platform.called()
        new_row, platform.key = await new_key(committed)  # steps 1 and 2
        await platform.called()
        app = create_app(make_settings(), committed)
        async with client_of(app) as client, app.state.services.last_used.running():
            await client.get("/interviews", headers={"Authorization": f"Bearer {platform.key}"})
        assert await last_used(committed, new_row)
        async with committed.begin() as session:  # step 3
            await revoke_key(session, which=old_row.short_id, now=datetime.now(UTC))
    assert await answers_of(replicas, old) == [401, 401]


async def test_the_bootstrap_key_is_replaced(replicas: Replicas, committed: Sessions) -> None:
    async with calling(replicas, API_KEY) as platform:
        await platform.called()
        _, platform.key = await new_key(committed)  # step 1
        await platform.called()
        restarted = []
        for replica in replicas:  # steps 2 and 3
            platform.replicas.remove(replica)
            restarted.append(await start(committed, NEW_BOOTSTRAP_KEY))
            platform.replicas.append(restarted[-1])
            await platform.called()
            assert await answers_of(replicas, API_KEY) == [401, 401]
            assert await answers_of(replicas, NEW_BOOTSTRAP_KEY) == [200, 200]
    for client in restarted:
        await client.aclose()


async def test_a_replica_that_starts_with_the_old_bootstrap_key_brings_it_back(
    replicas: Replicas, committed: Sessions
) -> None:
    """So the new value is set for all before any of them starts, and a stolen one is revoked first."""
    for key in (NEW_BOOTSTRAP_KEY, API_KEY):
        await (await start(committed, key)).aclose()
    assert await answers_of(replicas, API_KEY) == [200, 200]
    assert await answers_of(replicas, NEW_BOOTSTRAP_KEY) == [401, 401]
    async with committed.begin() as session:
        await revoke_key(session, which=BOOTSTRAP_KEY_NAME, now=datetime.now(UTC))
    await (await start(committed, API_KEY)).aclose()
    assert await answers_of(replicas, API_KEY) == [401, 401]


async def start(committed: Sessions, bootstrap_key: str) -> httpx.AsyncClient:
    """Store the key as `interviews serve` does when it starts with that BOOTSTRAP_API_KEY."""
    async with committed.begin() as session:
        organization_id = await ensure_default_organization(session)
        await ensure_bootstrap_key(session, organization_id=organization_id, key=bootstrap_key)
    return client_of(create_app(make_settings(bootstrap_api_key=bootstrap_key), committed))


async def test_another_livekit_secret_resets_the_tries_of_an_address_but_not_of_all(sessions: Sessions) -> None:
    """An address is stored as an HMAC with LIVEKIT_API_SECRET: it gets five more tries, and none is locked out."""
    async with behind(sessions, "phone") as before, behind(sessions, "phone", livekit_api_secret="n" * 40) as after:
        made = await before.new()

        async def tried(driver: InterviewDriver, address: str, times: int) -> list[int]:
            return [
                (await try_join(driver, made, at_address=address, phoneNumber=WRONG)).status_code for _ in range(times)
            ]

        assert await tried(before, "198.51.100.1", 6) == [403] * 5 + [429]
        assert (await try_join(after, made, at_address="198.51.100.1", phoneNumber=RIGHT)).status_code == 200
        assert await tried(after, "198.51.100.1", 6) == [403] * 5 + [429]
        for number in range(2, 10):
            assert await tried(after, f"198.51.100.{number}", 5) == [403] * 5
        for driver in (before, after):
            assert await tried(driver, "198.51.100.99", 1) == [429]

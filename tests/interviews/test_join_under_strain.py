"""Joins under strain: a locked row, an unavailable database, texts of the maximum length."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_engine, create_sessionmaker
from app.core.settings import Settings
from app.interviews.join_policy import PolicyDecision, check_join_policy
from app.interviews.join_queries import JoinSnapshot
from app.lifecycle import Status
from app.livekit.access_tokens import LARGEST_TOKEN
from app.main import create_app
from app.models import Interview, JoinRequest
from tests import livekit_webhooks
from tests.calls import NEW
from tests.conftest import AUTHORIZED, client_of
from tests.e2e.conditions import eventually
from tests.interview_driver import InterviewDriver
from tests.interviews.test_join_batches import waiting

ID = "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"


async def test_join_waits_for_no_row_lock(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(settings, sessions)) as client:
        made = (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json()
        async with own_engine.begin() as other:
            await other.execute(text("SELECT 1 FROM interviews FOR NO KEY UPDATE"))
            answer = await client.post(f"/interviews/{made['interviewId']}/join")
            # had it waited, Postgres would have given up, and the answer were 503
            assert answer.status_code == 200
            async with sessions() as session:
                assert (await session.scalars(select(JoinRequest.answer))).all() == ["TOKEN_ISSUED"]


@pytest.fixture
async def stranded(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Call an app whose database is down. The port is bound, so that nothing else can listen on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        engine = create_engine(f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/nothing")
        async with client_of(create_app(settings, create_sessionmaker(engine))) as client:
            yield client
        await engine.dispose()


def assert_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["code"] == "database_unavailable"
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]


async def test_join_without_a_database(stranded: httpx.AsyncClient) -> None:
    assert_unavailable(await stranded.post(f"/interviews/{ID}/join"))


async def test_a_webhook_without_a_database_is_retried(stranded: httpx.AsyncClient) -> None:
    """LiveKit retries after a 5xx only."""
    body = livekit_webhooks.encode(livekit_webhooks.event("room_started", room=f"interview-{ID}", at=datetime.now(UTC)))
    assert_unavailable(await stranded.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body)))


async def longest(client: httpx.AsyncClient, instructions: Callable[[int], str]) -> dict[str, Any]:
    """Return the interview with the longest accepted instructions. One more character is refused."""
    fits, too_long, found = 1, 8001, {}
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        answer = await client.post("/interviews", headers=AUTHORIZED, json=NEW | {"instructions": instructions(middle)})
        if answer.status_code == 201:
            fits, found = middle, answer.json()
        else:
            assert (answer.status_code, answer.json()["code"]) == (422, "token_too_large")
            too_long = middle
    return found


@pytest.mark.parametrize(
    ("sample", "at_least"),
    [("أخبرني عن أكبر مشروع عملت عليه. ", 2500), ('Say "hello" \\ ', 3000), ("plain ", 4500), ('"', 1200)],
)
async def test_no_accepted_interview_has_a_token_that_is_too_large(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], sample: str, at_least: int
) -> None:
    made = await longest(client, lambda length: (sample * length)[:length])
    assert len(made["instructions"]) >= at_least
    first = await client.post(f"/interviews/{made['interviewId']}/join")
    assert LARGEST_TOKEN - 50 < len(first.json()["participantToken"]) <= LARGEST_TOKEN
    async with sessions.begin() as session:  # the longest room name and status
        await session.execute(update(Interview).values(attempt=9999, status=Status.WAITING_FOR_AGENT))
    last = await client.post(f"/interviews/{made['interviewId']}/join")
    assert last.json()["roomName"].endswith("-9999")
    assert last.json()["instructions"] == made["instructions"]
    assert LARGEST_TOKEN - 10 < len(last.json()["participantToken"]) <= LARGEST_TOKEN


async def test_a_join_that_fails_harms_no_other(
    own_engine: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings, create_sessionmaker(own_engine))
    async with client_of(app) as client:
        driver = InterviewDriver(app, client)
        made = [await driver.new() for _ in range(4)]

        def faulty(snapshot: JoinSnapshot, *args: Any, **more: Any) -> PolicyDecision:
            if str(snapshot.id) == made[1]["interviewId"]:
                raise LookupError("a fault of ours")
            return check_join_policy(snapshot, *args, **more)

        monkeypatch.setattr("app.interviews.join.check_join_policy", faulty)
        answers = await asyncio.gather(*map(driver.join, made))
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]


async def test_many_joins_that_wait_for_one_interview_leave_connections_to_the_others(
    own_engine: AsyncEngine, settings: Settings
) -> None:
    app = create_app(settings, create_sessionmaker(own_engine))
    async with client_of(app) as client:
        driver = InterviewDriver(app, client)
        held, over, free = [await driver.new() for _ in range(3)]
        for each in (held, over):
            await driver.talk(each)
        driver.later(2)
        for each in (held, over):
            assert (await driver.complete(each)).status_code == 200
        async with own_engine.begin() as other:
            await other.execute(
                text("SELECT 1 FROM interviews WHERE id = CAST(:id AS uuid) FOR NO KEY UPDATE"),
                {"id": held["interviewId"]},
            )
            joins = [asyncio.create_task(driver.join(held)) for _ in range(20)]

            async def one_waits() -> bool:
                return await waiting(own_engine) == 1

            await eventually(one_waits)
            assert (await driver.join(over)).status_code == 409  # its status is updated while the others wait
            assert (await driver.join(free)).status_code == 200
            assert not any(each.done() for each in joins)
        assert [(await each).status_code for each in joins] == [409] * 20

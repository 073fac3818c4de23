"""Joins under the join policies, by strangers and candidates at addresses of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.main import create_app
from tests.conftest import AUTHORIZED, make_settings
from tests.interview_driver import InterviewDriver

RIGHT = "+966 50 987 6543"  # the number of stage.NEW
WRONG = "+966 50 000 0000"
HOME = "203.0.113.7"


@asynccontextmanager
async def behind(
    sessions: async_sessionmaker[AsyncSession], policy: str, **settings: Any
) -> AsyncIterator[InterviewDriver]:
    """A deployment with that JOIN_POLICY."""
    app = create_app(make_settings(join_policy=policy, **settings), sessions)
    async with at(app, HOME) as client:
        yield InterviewDriver(app, client)


def at(app: FastAPI, address: str) -> httpx.AsyncClient:
    """Call the app in this process, from that address."""
    transport = httpx.ASGITransport(app=app, client=(address, 40_000))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def try_join(
    driver: InterviewDriver,
    interview: dict[str, Any],
    *,
    at_address: str = HOME,
    bearer: str | None = None,
    **said: Any,
) -> httpx.Response:
    """Join from an address, with what is said in the body, and a bearer token in the header."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with at(driver.app, at_address) as client:
        return await client.post(f"/interviews/{interview['interviewId']}/join", json=said, headers=headers)


async def invited(driver: InterviewDriver, interview: dict[str, Any], **said: Any) -> str:
    """Make an invite; return its secret."""
    answer = await driver.call(interview, "invite", json=said)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["invite"])


async def told(driver: InterviewDriver, interview: dict[str, Any]) -> list[str]:
    """Return the names of all calls on the timeline, in order."""
    path = f"/interviews/{interview['interviewId']}/timeline"
    answer = await driver.client.get(path, headers=AUTHORIZED, params={"limit": 200})
    return [entry["name"] for entry in answer.json()["data"] if entry["kind"] == "call"]

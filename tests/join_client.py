"""Joins under the join policies, from any address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.main import create_app
from tests.conftest import AUTHORIZED, make_settings
from tests.interview_driver import InterviewDriver

RIGHT = "+966 50 987 6543"  # the number of interview_driver.NEW
WRONG = "+966 50 000 0000"
HOME = "203.0.113.7"


@asynccontextmanager
async def behind(
    sessions: async_sessionmaker[AsyncSession], policy: str, **settings: Any
) -> AsyncIterator[InterviewDriver]:
    """Yield a deployment with that JOIN_POLICY."""
    app = create_app(make_settings(join_policy=policy, **settings), sessions)
    async with at(app, HOME) as client:
        yield InterviewDriver(app, client)


def at(app: FastAPI, address: str) -> httpx.AsyncClient:
    """Return a client of the app in this process, at that address."""
    transport = httpx.ASGITransport(app=app, client=(address, 40_000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def try_join(
    driver: InterviewDriver,
    interview: dict[str, Any],
    *,
    at_address: str = HOME,
    bearer: str | None = None,
    **body: Any,
) -> httpx.Response:
    """Join from an address, with a body and a bearer token."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with at(driver.app, at_address) as client:
        return await client.post(f"/interviews/{interview['interviewId']}/join", json=body, headers=headers)


async def invited(driver: InterviewDriver, interview: dict[str, Any], **body: Any) -> str:
    """Create an invite; return its secret."""
    answer = await driver.call(interview, "invite", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["invite"])


async def timeline_calls(driver: InterviewDriver, interview: dict[str, Any]) -> list[str]:
    """Return the names of the calls on the timeline, in order."""
    path = f"/interviews/{interview['interviewId']}/timeline"
    answer = await driver.client.get(path, headers=AUTHORIZED, params={"limit": 200})
    return [entry["name"] for entry in answer.json()["data"] if entry["kind"] == "call"]

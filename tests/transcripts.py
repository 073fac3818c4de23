"""Lines and checkpoints as an agent sends them, for the tests."""

from datetime import datetime
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.models import Interview
from tests.conftest import AUTHORIZED

Json = dict[str, Any]


def line(number: int, text: str = "Hello.", speaker: str = "agent", **more: Any) -> Json:
    return {"id": f"line-{number}", "speaker": speaker, "text": text, "at": "2026-11-22T09:00:00Z"} | more


async def livekit_was_asked(sessions: async_sessionmaker[AsyncSession], interview: Json, *, at: datetime) -> None:
    """A deadline decides only once LiveKit was asked who is in the room."""
    async with sessions.begin() as session:
        (await session.get_one(Interview, interview["interviewId"])).asked_at = at


async def append(
    client: httpx.AsyncClient, interview: Json, *lines: Json, agent: str = "agent-AJ_1", **more: Any
) -> httpx.Response:
    body = {"roomName": interview["roomName"], "agent": agent, "lines": list(lines)} | more
    return await client.post(f"/interviews/{interview['interviewId']}/transcript", headers=AUTHORIZED, json=body)


async def appended(client: httpx.AsyncClient, interview: Json, *lines: Json, **more: Any) -> tuple[int, int]:
    """Append lines; return how many were stored, and the last position."""
    answer = await append(client, interview, *lines, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["stored"], answer.json()["position"]


async def transcript(client: httpx.AsyncClient, interview: Json, **query: Any) -> Json:
    path = f"/interviews/{interview['interviewId']}/transcript"
    answer = await client.get(path, headers=AUTHORIZED, params=query)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def texts(client: httpx.AsyncClient, interview: Json, **query: Any) -> list[str]:
    """Return the texts of all pages."""
    page = await transcript(client, interview, **query)
    found = [each["text"] for each in page["data"]]
    while page["nextCursor"]:
        page = await transcript(client, interview, cursor=page["nextCursor"], **query)
        found += [each["text"] for each in page["data"]]
    return found


async def put_checkpoint(
    client: httpx.AsyncClient, interview: Json, sequence: Any, state: Any, agent: str = "agent-AJ_1", **more: Any
) -> httpx.Response:
    body = {"roomName": interview["roomName"], "agent": agent, "sequence": sequence, "state": state} | more
    return await client.put(f"/interviews/{interview['interviewId']}/checkpoint", headers=AUTHORIZED, json=body)


async def get_checkpoint(client: httpx.AsyncClient, interview: Json) -> httpx.Response:
    return await client.get(f"/interviews/{interview['interviewId']}/checkpoint", headers=AUTHORIZED)

"""Concurrent callers of one interview, on committed rows and real connections: no deadlock, no lost fact."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_sessionmaker
from app.core.settings import Settings
from app.main import create_app
from app.models import Connection, Interview, JoinRequest, TimelineEntry
from tests import livekit_webhooks
from tests.conftest import AUTHORIZED, client_of

NEW = {
    "candidateId": "c",
    "applicationId": "a",
    "jobPostId": "j",
    "jobTitle": "Developer",
    "phoneNumber": "966509876543",
}


async def _send(client: httpx.AsyncClient, event: dict[str, object]) -> int:
    body = livekit_webhooks.encode(event)
    response = await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
    return response.status_code


async def _join(client: httpx.AsyncClient, interview_id: str) -> int:
    return (await client.post(f"/interviews/{interview_id}/join")).status_code


async def test_fifty_concurrent_webhooks_and_joins(own_engine: AsyncEngine, settings: Settings) -> None:
    now = datetime.now(UTC)
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(settings, sessions)) as client:
        made = (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json()
        events = []
        for number in range(25):
            who = livekit_webhooks.participant(
                f"PA_{number}", f"agent-AJ_{number}", joined_at=now + timedelta(seconds=number), kind="AGENT"
            )
            events.append(livekit_webhooks.event("participant_joined", room=made["roomName"], at=now, participant=who))
        twice = [_send(client, event) for event in events for _ in range(2)]
        joins = [_join(client, made["interviewId"]) for _ in range(50)]
        # A deadlock would be a 503.
        assert set(await asyncio.gather(*twice, *joins)) == {200}
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Connection)) == 25
        assert await session.scalar(select(func.count()).select_from(JoinRequest)) == 50
        events_stored = select(func.count()).select_from(TimelineEntry).where(TimelineEntry.kind == "livekit")
        assert await session.scalar(events_stored) == 25
        assert await session.scalar(select(Interview.status)) == "READY_TO_JOIN"


async def test_concurrent_joins_start_the_interview_once(own_engine: AsyncEngine, settings: Settings) -> None:
    """Candidate and agent of many interviews join at the same time: each interview starts once."""
    now = datetime.now(UTC)
    sessions = create_sessionmaker(own_engine)
    async with client_of(create_app(settings, sessions)) as client:
        made = [(await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json() for _ in range(10)]
        events = []
        for interview in made:
            candidate = livekit_webhooks.participant(f"PA_c{interview['interviewId']}", "candidate-c", joined_at=now)
            agent = livekit_webhooks.participant(
                f"PA_a{interview['interviewId']}", "agent-AJ_1", joined_at=now, kind="AGENT"
            )
            for who in (candidate, agent):
                events.append(
                    livekit_webhooks.event("participant_joined", room=interview["roomName"], at=now, participant=who)
                )
        assert set(await asyncio.gather(*(_send(client, event) for event in events))) == {200}
    async with sessions() as session:
        assert set(await session.scalars(select(Interview.status))) == {"IN_PROGRESS"}
        started = select(func.count()).select_from(TimelineEntry).where(TimelineEntry.name == "both_connected")
        assert await session.scalar(started) == 10

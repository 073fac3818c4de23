"""LiveKit's key pair is replaced by the steps of docs/operations.md, while candidates join."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview
from tests.e2e.outages import OwnStack
from tests.e2e.platform import Platform
from tests.e2e.service import Service
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NEW_KEY = "newkey"


@dataclass
class Joins:
    """Candidates that join continuously, through any replica."""

    statuses: list[int] = field(default_factory=list)

    async def go_on(self, services: tuple[Service, ...], interview_id: str) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            while True:
                self.statuses.append(await self._join(client, services, interview_id))
                await asyncio.sleep(0.1)

    async def _join(self, client: httpx.AsyncClient, services: tuple[Service, ...], interview_id: str) -> int:
        for service in services:  # as a load balancer does: the next one if a connection is refused
            try:
                return (await client.post(f"{service.url}/interviews/{interview_id}/join")).status_code
            except httpx.TransportError:
                continue
        return 0


@dataclass
class Rotation:
    """The stack with the old and the new key pair."""

    stack: Stack
    platform: Platform
    join: Join
    folder: Path
    new_secret: str = field(default_factory=lambda: secrets.token_hex(24))

    def __post_init__(self) -> None:
        self.old_key, self.old_secret = self.stack.livekit.api_key, self.stack.livekit.api_secret

    async def interview(self) -> Interview:
        made = await self.platform.schedule()
        return Interview(made["interviewId"], self.stack, self.platform, self.join, self.folder)

    async def talk(self, interview: Interview) -> None:
        """Both connect and the agent ends it; the status proves that LiveKit's webhooks were accepted."""
        agent = await interview.agent()
        await interview.becomes("IN_PROGRESS")
        await agent.announce("completed")
        await agent.leave()
        await interview.becomes("COMPLETED", "AGENT_REPORTED")

    async def restart_livekit(self) -> None:
        livekit = self.stack.livekit
        await asyncio.to_thread(livekit.stop)
        await asyncio.to_thread(livekit.start)

    async def restart_services(self, **settings: str) -> None:
        """Restart one after the other, as in a rolling deployment."""
        for service in self.stack.services:
            service.env.update(settings)
            assert await asyncio.to_thread(service.stop) == 0
            await asyncio.to_thread(service.start)


@asynccontextmanager
async def candidates_joining(rotation: Rotation) -> AsyncIterator[Joins]:
    joins = Joins()
    going_on = asyncio.create_task(joins.go_on(rotation.stack.services, (await rotation.interview()).id))
    try:
        yield joins
    finally:
        going_on.cancel()
    assert not going_on.done() or going_on.cancelled()


async def test_livekits_keys_are_replaced_without_a_lost_webhook_or_a_failed_join(
    own_stack: OwnStack, join: Join, tmp_path: Path
) -> None:
    with own_stack(replicas=1) as stack:
        rotation = Rotation(stack, Platform(stack.service), join, tmp_path)
        livekit = stack.livekit
        async with candidates_joining(rotation) as joins:
            # 1. LiveKit accepts both pairs, and signs with the old one.
            livekit.more_keys, livekit.webhook_key = {NEW_KEY: rotation.new_secret}, rotation.old_key
            await rotation.restart_livekit()
            interview = await rotation.interview()
            await interview.candidate()
            await rotation.talk(interview)

            # 2. The service signs with the new pair, and accepts webhooks of both.
            interview = await rotation.interview()
            unconnected_candidate = await interview.unconnected_candidate()  # with the old pair, used after the change
            await rotation.restart_services(
                LIVEKIT_API_KEY=NEW_KEY,
                LIVEKIT_API_SECRET=rotation.new_secret,
                LIVEKIT_PREVIOUS_KEYS=f"{rotation.old_key}:{rotation.old_secret}",
            )
            await join(unconnected_candidate)
            await rotation.talk(interview)
            interview = await rotation.interview()
            await interview.candidate()  # with the new pair
            await rotation.talk(interview)

            # 3. LiveKit signs with the new pair.
            interview = await rotation.interview()
            unconnected_candidate = await interview.unconnected_candidate()
            livekit.webhook_key = NEW_KEY
            await rotation.restart_livekit()
            await join(unconnected_candidate)
            await rotation.talk(interview)

            # 4. All tokens of the old pair have expired: LiveKit drops it, then the service.
            livekit.api_key, livekit.api_secret, livekit.more_keys = NEW_KEY, rotation.new_secret, {}
            await rotation.restart_livekit()
            await rotation.restart_services(LIVEKIT_PREVIOUS_KEYS="")
            interview = await rotation.interview()
            await interview.candidate()
            await rotation.talk(interview)
            await eventually(lambda: len(joins.statuses) > 10)
        await rotation.platform.aclose()
        assert set(joins.statuses) == {200}
        for service in stack.services:
            log = service.log.read_text()
            assert "POST /webhooks/livekit 200" in log
            assert "POST /webhooks/livekit 4" not in log

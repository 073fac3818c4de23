"""Endpoints, changes and deliveries on committed rows: what the tests of outgoing webhooks start from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.lifecycle import Timeouts
from app.livekit.client import LiveKitServer
from app.worker import WorkerContext
from app.worker.webhook_delivery import deliver_all_due
from tests.conftest import AUTHORIZED
from tests.e2e.conditions import HOPELESS, eventually
from tests.interview_driver import RealTime


@dataclass
class WebhookDriver:
    driver: RealTime
    client: httpx.AsyncClient
    sessions: async_sessionmaker[AsyncSession]
    to_private: bool = True

    @property
    def context(self) -> WorkerContext:
        nobody = cast(LiveKitServer, None)  # who delivers webhooks does not ask LiveKit
        return WorkerContext(self.sessions, nobody, Timeouts(), "", timedelta(seconds=30), self.to_private)

    async def call(self, method: str, path: str, expected: int = 200, **more: Any) -> Any:
        answer = await self.client.request(method, f"/webhook-endpoints{path}", **{"headers": AUTHORIZED, **more})
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    async def endpoint(self, url: str, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.call("POST", "", 201, json={"url": url} | more)
        return made

    async def again(self, endpoint: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("GET", f"/{endpoint['endpointId']}")
        return found

    async def log(self, endpoint: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        found = await self.call("GET", f"/{endpoint['endpointId']}/deliveries", params=query)
        deliveries: list[dict[str, Any]] = found["data"]
        return deliveries

    async def states(self, endpoint: dict[str, Any]) -> list[str]:
        return sorted(each["state"] for each in await self.log(endpoint))

    async def become(self, endpoint: dict[str, Any], *states: str) -> list[dict[str, Any]]:
        async def they_are() -> bool:
            return await self.states(endpoint) == sorted(states)

        await eventually(they_are)
        return await self.log(endpoint)

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.sessions.begin() as session:
            await session.execute(text(statement), values)

    @asynccontextmanager
    async def delivering(self, workers: int = 1) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = [asyncio.create_task(deliver_all_due(self.context, stop)) for _ in range(workers)]
        try:
            yield
            assert not any(task.done() for task in running), "a worker ended by itself"
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*running), HOPELESS)

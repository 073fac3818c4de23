"""A worker's world: a database of its own, and a LiveKit that can be broken."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_sessionmaker
from app.livekit import client
from app.livekit.client import LiveKitServer
from tests.conftest import LIVEKIT_KEY, LIVEKIT_SECRET, PATIENT
from tests.worker.livekit_stub import LiveKitStub, running_stub
from tests.worker.world import World


@pytest.fixture
async def stub() -> AsyncIterator[LiveKitStub]:
    async with running_stub() as stub:
        yield stub


@pytest.fixture
async def world(
    emptied_engine: AsyncEngine, stub: LiveKitStub, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setattr(client, "TIMEOUT", PATIENT)  # a busy machine is no LiveKit that hangs
    async with LiveKitServer(stub.url, LIVEKIT_KEY, LIVEKIT_SECRET) as livekit:
        yield World(emptied_engine, create_sessionmaker(emptied_engine), stub, livekit)

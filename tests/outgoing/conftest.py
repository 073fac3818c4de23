from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db import create_sessionmaker
from app.main import create_app
from app.worker import deliver
from tests.conftest import client_of, make_settings
from tests.outgoing.hooks import Hooks
from tests.outgoing.receiver import Receiver, receiving
from tests.stage import RealTime


@pytest.fixture
async def hooks(emptied_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hooks]:
    monkeypatch.setattr(deliver, "POLL", 0.02)
    sessions = create_sessionmaker(emptied_engine)
    app = create_app(make_settings(), sessions)
    async with client_of(app) as client:
        yield Hooks(RealTime(app, client), client, sessions)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_sessionmaker
from app.main import create_app
from app.worker import webhook_delivery
from tests.conftest import client_of, make_settings
from tests.interview_driver import RealTime
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.webhook_driver import WebhookDriver


@pytest.fixture
async def webhook_driver(emptied_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WebhookDriver]:
    monkeypatch.setattr(webhook_delivery, "POLL", 0.02)
    sessions = create_sessionmaker(emptied_engine)
    app = create_app(make_settings(), sessions)
    async with client_of(app) as client:
        yield WebhookDriver(RealTime(app, client), client, sessions)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver

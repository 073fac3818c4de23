"""What the app holds from its start on, in one typed object."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.last_use import LastUsed
from app.core.batching import Batcher
from app.core.rate_limits import RateLimits
from app.core.settings import Settings
from app.interviews.join import JoinCommand, JoinResult
from app.interviews.livekit_events import RoomEvent, WebhookResult
from app.interviews.transcript_append import AppendCommand, Appended
from app.lifecycle import Timeouts
from app.livekit.access_tokens import Signer
from app.stream.hub import Hub


@dataclass(frozen=True, kw_only=True)
class Services:
    """Stored as `app.state.services` by create_app."""

    settings: Settings
    sessions: async_sessionmaker[AsyncSession]
    signer: Signer
    timeouts: Timeouts
    joins: Batcher[JoinCommand, JoinResult]
    livekit_events: Batcher[RoomEvent, WebhookResult]
    appends: Batcher[AppendCommand, Appended]
    hub: Hub
    last_used: LastUsed
    rate_limits: RateLimits
    clock: Callable[[], datetime]


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services

"""Background work: due interviews, effects in LiveKit, reconciling, webhook deliveries, the nightly audit.

The row is the job. Processes need no coordination: each claims what is due with SKIP LOCKED, and holds it on a lease.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.lifecycle import Timeouts
from app.livekit.client import LiveKitServer


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What every part of the worker needs."""

    sessions: async_sessionmaker[AsyncSession]
    livekit: LiveKitServer
    timeouts: Timeouts
    agent_name: str
    reconcile_every: timedelta
    webhooks_to_private: bool = False
    retention: timedelta | None = None
    """How long after its end an interview's personal data is kept; None: for ever."""

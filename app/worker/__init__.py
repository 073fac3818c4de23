"""Background work: due interviews, effects in LiveKit, reconciling, webhook deliveries, the nightly audit.

The row is the job. Processes need no coordination: each claims what is due with SKIP LOCKED, and holds it on a lease.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core import metrics
from app.core.errors import DatabaseUnavailable
from app.lifecycle import Timeouts
from app.livekit.client import LiveKitServer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What every part of the worker needs."""

    sessions: async_sessionmaker[AsyncSession]
    livekit: LiveKitServer
    timeouts: Timeouts
    agent_name: str
    reconcile_every: timedelta
    webhooks_to_private: bool = False
    retention: timedelta | None = None  # of an interview's personal data after its end; None: for ever


@contextmanager
def logged_errors(message: str, *args: object) -> Iterator[None]:
    """Log an error instead of raising it, because an error that escaped would end all loops of the worker."""
    try:
        yield
    except DatabaseUnavailable as error:
        log.warning(f"{message}, the database is unavailable: %r", *args, error.__cause__)
    except Exception:
        log.exception(message, *args)
        metrics.WORKER_ERRORS.inc()

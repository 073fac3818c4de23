"""Runs a worker: beside the server in one process, or alone."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core import metrics
from app.core.settings import Settings
from app.livekit.client import LiveKitServer
from app.worker import WorkerContext
from app.worker.scheduler import run_scheduler

log = logging.getLogger(__name__)

RESTART_DELAY = 1.0  # seconds


@asynccontextmanager
async def running_worker(
    settings: Settings, sessions: async_sessionmaker[AsyncSession]
) -> AsyncIterator[asyncio.Event]:
    """Run a worker in the background of the block, and let it finish its current work at the end. Yields its stop."""
    stop = asyncio.Event()
    url = settings.livekit_api_url or settings.livekit_url
    every = timedelta(seconds=settings.reconcile_every)
    async with LiveKitServer(url, settings.livekit_api_key, settings.livekit_api_secret.get_secret_value()) as livekit:
        private, retention = settings.webhooks_to_private, settings.retention
        context = WorkerContext(sessions, livekit, settings.timeouts, settings.agent_name, every, private, retention)
        running = asyncio.create_task(_run_forever(context, stop))
        try:
            yield stop
        finally:
            stop.set()
            await running


async def _run_forever(context: WorkerContext, stop: asyncio.Event) -> None:
    """Restart the scheduler if it ends before the stop."""
    while not stop.is_set():
        try:
            await run_scheduler(context, stop)
        except Exception:
            log.exception("the worker crashed and restarts")
            metrics.WORKER_ERRORS.inc()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RESTART_DELAY)


async def run_alone(settings: Settings, sessions: async_sessionmaker[AsyncSession]) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    async with running_worker(settings, sessions) as stop:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("worker started")
        await stop.wait()

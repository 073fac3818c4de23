"""Delivers webhooks: claims what is due, posts it outside any transaction, stores the result."""

import asyncio
import logging
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from app.core import metrics
from app.core.database import transaction
from app.core.errors import DatabaseUnavailable
from app.webhooks import queue
from app.webhooks.payload import body_of, message_id, signatures
from app.webhooks.queue import ClaimedDelivery
from app.webhooks.retry_policy import DeliveryResponse, DeliveryState, DisabledReason, decide_retry
from app.webhooks.sender import Sender
from app.worker import WorkerContext, logged_errors

log = logging.getLogger(__name__)

CONCURRENCY = 32  # deliveries that one process sends at the same time
POLL = 0.5  # seconds
SHUTDOWN_TIMEOUT = 5.0  # seconds to finish deliveries when the worker stops; the rest is retried after its lease
MEASURE_INTERVAL = timedelta(seconds=15)

Running = dict[asyncio.Task[None], ClaimedDelivery]


async def deliver_all_due(context: WorkerContext, stop: asyncio.Event) -> None:
    """Deliver until `stop` is set. A slow receiver takes up only the slots of its own endpoint."""
    running: Running = {}
    measured_at = datetime.min.replace(tzinfo=UTC)
    async with Sender(allow_private=context.webhooks_to_private, concurrency=CONCURRENCY) as sender:
        while not stop.is_set():
            now = datetime.now(UTC)
            if now - measured_at >= MEASURE_INTERVAL:
                measured_at = now
                await _measure(context, now)
            for claimed in await _claim(context, running, now):
                running[asyncio.create_task(_deliver(context, sender, claimed))] = claimed
            await _wait(running, stop)
        await _finish(running)


async def _claim(context: WorkerContext, running: Running, now: datetime) -> list[ClaimedDelivery]:
    if len(running) >= CONCURRENCY:
        return []
    with logged_errors("webhooks are postponed"):
        async with transaction(context.sessions) as session:
            return await queue.claim(session, under_way=list(running.values()), concurrency=CONCURRENCY, now=now)
    return []


async def _measure(context: WorkerContext, now: datetime) -> None:
    with suppress(DatabaseUnavailable, SQLAlchemyError):  # a late figure does no harm
        async with transaction(context.sessions) as session:
            backlog = await queue.backlog(session, now=now)
        metrics.WEBHOOKS_WAITING.set(backlog.count)
        metrics.WEBHOOKS_OLDEST.set(backlog.age.total_seconds())


async def _wait(running: Running, stop: asyncio.Event) -> None:
    """Wait for a free slot, the stop, or the next poll."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopped, *running}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in [each for each in running if each in done]:
        del running[task]


async def _finish(running: Running) -> None:
    if running:
        _, late = await asyncio.wait(running, timeout=SHUTDOWN_TIMEOUT)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _deliver(context: WorkerContext, sender: Sender, claimed: ClaimedDelivery) -> None:
    with logged_errors("delivery %s is retried after its lease", claimed.delivery.id):
        response = await _post(sender, claimed, now=datetime.now(UTC))
        await _store(context, claimed, response)


async def _post(sender: Sender, claimed: ClaimedDelivery, *, now: datetime) -> DeliveryResponse:
    endpoint = claimed.endpoint
    body = body_of(claimed.delivery, claimed.change)
    webhook_id, timestamp = message_id(claimed.delivery, claimed.change), int(now.timestamp())
    keys = [endpoint.secret]
    if endpoint.previous_secret and endpoint.previous_secret_until and endpoint.previous_secret_until > now:
        keys.append(endpoint.previous_secret)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(keys, message_id=webhook_id, timestamp=timestamp, body=body),
    }
    return await sender.post(endpoint.url, headers=headers, body=body)


async def _store(context: WorkerContext, claimed: ClaimedDelivery, response: DeliveryResponse) -> None:
    now = datetime.now(UTC)
    chance = random.random()  # noqa: S311 - jitter
    decision = decide_retry(response, attempts=claimed.delivery.attempts, now=now, chance=chance)
    disabled: DisabledReason | None = None
    async with transaction(context.sessions) as session:
        if not await queue.finish(session, claimed=claimed, response=response, decision=decision, now=now):
            log.warning("delivery %s took longer than its lease", claimed.delivery.id)
            return
        if not response.is_success:
            disabled = await queue.record_failure(
                session, claimed=claimed, response=response, decision=decision, now=now
            )
    if disabled:
        log.warning("webhook endpoint %s is disabled: %s", claimed.endpoint.id, disabled)
        metrics.WEBHOOK_ENDPOINTS_DISABLED.labels(reason=disabled).inc()
    result = "tried" if decision.state is DeliveryState.PENDING else decision.state.lower()
    metrics.WEBHOOKS_SENT.labels(became=result).inc()


async def prune_deliveries(context: WorkerContext) -> None:
    """Expire deliveries that waited too long for a disabled endpoint, and delete old ones."""
    now = datetime.now(UTC)
    for run_batch in (queue.expire, queue.prune):
        is_more = True
        while is_more:
            async with transaction(context.sessions) as session:
                is_more = await run_batch(session, now=now)

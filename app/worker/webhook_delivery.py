"""Delivers webhooks: takes what is due, posts it outside any transaction, stores what came of it."""

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
from app.webhooks.payload import body_of, message_id
from app.webhooks.queue import ClaimedDelivery
from app.webhooks.retry_policy import DeliveryResponse, DeliveryState, DisabledReason, decide_retry
from app.webhooks.sender import Sender
from app.webhooks.signing import signatures
from app.worker.context import Context

log = logging.getLogger(__name__)

AT_ONCE = 32  # deliveries that one process has under way
POLL = 0.5  # seconds
FAREWELL = 5.0  # seconds that those under way get when the worker stops; others are sent again after their lease
MEASURE = timedelta(seconds=15)

Running = dict[asyncio.Task[None], ClaimedDelivery]


async def deliver_all_due(context: Context, stop: asyncio.Event) -> None:
    """Deliver until `stop` is set. A receiver that is slow costs the slots of its own endpoint only."""
    running: Running = {}
    measured_at = datetime.min.replace(tzinfo=UTC)
    async with Sender(allow_private=context.webhooks_to_private, at_once=AT_ONCE) as sender:
        while not stop.is_set():
            now = datetime.now(UTC)
            if now - measured_at >= MEASURE:
                measured_at = now
                await _measure(context, now)
            for claimed in await _claim(context, running, now):
                running[asyncio.create_task(_deliver(context, sender, claimed))] = claimed
            await _wait(running, stop)
        await _end(running)


async def _claim(context: Context, running: Running, now: datetime) -> list[ClaimedDelivery]:
    if len(running) >= AT_ONCE:
        return []
    try:
        async with transaction(context.sessions) as session:
            return await queue.claim(session, under_way=list(running.values()), at_once=AT_ONCE, now=now)
    except DatabaseUnavailable as error:
        log.warning("no webhook can be delivered: %r", error.__cause__)
    except SQLAlchemyError:  # an error that got out of here would end all loops
        log.exception("no webhook can be delivered")
        metrics.WORKER_ERRORS.inc()
    return []


async def _measure(context: Context, now: datetime) -> None:
    with suppress(DatabaseUnavailable, SQLAlchemyError):  # a figure that is late harms nobody
        async with transaction(context.sessions) as session:
            waiting = await queue.backlog(session, now=now)
        metrics.WEBHOOKS_WAITING.set(waiting.count)
        metrics.WEBHOOKS_OLDEST.set(waiting.age.total_seconds())


async def _wait(running: Running, stop: asyncio.Event) -> None:
    """Wait until a slot is free, the stop, or for the next look."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopped, *running}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in [each for each in running if each in done]:
        del running[task]


async def _end(running: Running) -> None:
    if running:
        _, late = await asyncio.wait(running, timeout=FAREWELL)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _deliver(context: Context, sender: Sender, claimed: ClaimedDelivery) -> None:
    delivery = claimed.delivery
    try:
        answer = await _post(sender, claimed, now=datetime.now(UTC))
        await _store(context, claimed, answer, now=datetime.now(UTC))
    except DatabaseUnavailable as error:
        log.warning("delivery %s is sent again after its lease: %r", delivery.id, error.__cause__)
    except Exception:  # one delivery must not end the loop
        log.exception("delivery %s is sent again after its lease", delivery.id)
        metrics.WORKER_ERRORS.inc()


async def _post(sender: Sender, claimed: ClaimedDelivery, *, now: datetime) -> DeliveryResponse:
    endpoint = claimed.endpoint
    body = body_of(claimed.delivery, claimed.change)
    known_as, timestamp = message_id(claimed.delivery, claimed.change), int(now.timestamp())
    keys = [endpoint.secret]
    if endpoint.previous_secret and endpoint.previous_secret_until and endpoint.previous_secret_until > now:
        keys.append(endpoint.previous_secret)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": known_as,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(keys, message_id=known_as, timestamp=timestamp, body=body),
    }
    return await sender.post(endpoint.url, headers=headers, body=body)


async def _store(context: Context, claimed: ClaimedDelivery, answer: DeliveryResponse, *, now: datetime) -> None:
    chance = random.random()  # noqa: S311 - it spreads the load
    retry_decision = decide_retry(answer, attempts=claimed.delivery.attempts, now=now, chance=chance)
    disabled: DisabledReason | None = None
    async with transaction(context.sessions) as session:
        if not await queue.finish(session, claimed=claimed, answer=answer, retry_decision=retry_decision, now=now):
            log.warning("delivery %s took longer than its lease", claimed.delivery.id)
            return
        if not answer.is_success:
            disabled = await queue.note_failure(
                session, claimed=claimed, answer=answer, retry_decision=retry_decision, now=now
            )
    if disabled:
        log.warning("webhook endpoint %s is disabled: %s", claimed.endpoint.id, disabled)
        metrics.WEBHOOK_ENDPOINTS_DISABLED.labels(reason=disabled).inc()
    became = "tried" if retry_decision.state is DeliveryState.PENDING else retry_decision.state.lower()
    metrics.WEBHOOKS_SENT.labels(became=became).inc()


async def prune_deliveries(context: Context) -> None:
    """Give up what has waited too long for a disabled endpoint, and delete what is old."""
    now = datetime.now(UTC)
    for batch in (queue.expire, queue.prune):
        is_more = True
        while is_more:
            async with transaction(context.sessions) as session:
                is_more = await batch(session, now=now)

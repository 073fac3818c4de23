"""The delivery log of an endpoint, and what is sent anew: one delivery, a span of time, a test."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import DeliveryNotFound, ReplayTooLarge, WebhookEndpointDisabled
from app.core.pagination import decode_row, encode_cursor
from app.models import Change, Delivery, DeliveryAttempt, WebhookEndpoint
from app.webhooks.retry_policy import DeliveryState

MOST_REPLAYED = 10_000  # changes by one call
SHOWN_ATTEMPTS = 20  # the latest of each delivery

# What was never enqueued, or is finished; what is pending comes anyway.
REPLAY = text(
    """
    WITH spanned AS (
        SELECT id FROM changes
        WHERE organization_id = :organization_id AND at >= :since AND at < :until
            AND (:all_types OR type = ANY (CAST(:event_types AS text[])))
    ),
    enqueued AS (
        INSERT INTO deliveries (endpoint_id, change_id, created_at, since, next_attempt_at)
        SELECT :endpoint_id, id, :now, :now, :now FROM spanned ORDER BY id
        ON CONFLICT (endpoint_id, change_id) DO UPDATE
        SET state = 'PENDING', since = :now, attempts = 0, next_attempt_at = :now, finished_at = NULL
        WHERE deliveries.state <> 'PENDING'
        RETURNING id
    )
    SELECT count(*) FROM enqueued
    """
)
SPANNED = text(
    """
    SELECT count(*) FROM (
        SELECT FROM changes
        WHERE organization_id = :organization_id AND at >= :since AND at < :until
            AND (:all_types OR type = ANY (CAST(:event_types AS text[])))
        LIMIT :limit
    ) spanned
    """
)


@dataclass(frozen=True, slots=True)
class DeliveryLog:
    """A delivery, the change that it tells of (None: a test), and what came of its latest tries, oldest first."""

    delivery: Delivery
    change: Change | None
    attempts: Sequence[DeliveryAttempt]


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    deliveries: Sequence[DeliveryLog]
    next_cursor: str | None


async def list_deliveries(
    session: AsyncSession,
    *,
    endpoint: WebhookEndpoint,
    states: Sequence[DeliveryState],
    cursor: str | None,
    limit: int,
) -> DeliveryPage:
    """Return a page of the endpoint's deliveries, newest first. Raises CursorInvalid."""
    query = select(Delivery, Change).outerjoin(Change, Change.id == Delivery.change_id)
    query = query.where(Delivery.endpoint_id == endpoint.id)
    if states:
        query = query.where(Delivery.state.in_(states))
    if cursor:
        at, key, _ = decode_row(cursor)
        query = query.where(tuple_(Delivery.created_at, Delivery.id) < tuple_(at, key))
    query = query.order_by(Delivery.created_at.desc(), Delivery.id.desc()).limit(limit + 1)
    rows = (await session.execute(query)).all()
    attempts = await _attempts(session, [row.Delivery.id for row in rows[:limit]])
    page = [DeliveryLog(row.Delivery, row.Change, attempts[row.Delivery.id]) for row in rows[:limit]]
    last = page[-1].delivery if len(rows) > limit else None
    return DeliveryPage(page, encode_cursor(last.created_at, last.id.hex) if last else None)


async def _attempts(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[DeliveryAttempt]]:
    place = func.row_number().over(partition_by=DeliveryAttempt.delivery_id, order_by=DeliveryAttempt.id.desc())
    latest = select(DeliveryAttempt.id, place.label("place")).where(DeliveryAttempt.delivery_id.in_(ids)).subquery()
    rows = await session.scalars(
        select(DeliveryAttempt)
        .join(latest, latest.c.id == DeliveryAttempt.id)
        .where(latest.c.place <= SHOWN_ATTEMPTS)
        .order_by(DeliveryAttempt.id)
    )
    found = defaultdict(list)
    for row in rows:
        found[row.delivery_id].append(row)
    return found


async def replay_delivery(
    session: AsyncSession, *, endpoint: WebhookEndpoint, delivery_id: uuid.UUID, now: datetime
) -> DeliveryLog:
    """Send a delivery again, now, under its old webhook-id, and with all tries before it. One under way is let be.

    Raises DeliveryNotFound, WebhookEndpointDisabled.
    """
    _require_enabled(endpoint)
    query = select(Delivery).where(Delivery.id == delivery_id, Delivery.endpoint_id == endpoint.id)
    delivery = await session.scalar(query.with_for_update(key_share=True))
    if delivery is None:
        raise DeliveryNotFound
    if delivery.claim is None:
        delivery.state, delivery.finished_at = DeliveryState.PENDING, None
        delivery.since = delivery.next_attempt_at = now
        delivery.attempts = 0
        await session.flush()
    change = await session.get(Change, delivery.change_id) if delivery.change_id else None
    return DeliveryLog(delivery, change, (await _attempts(session, [delivery.id]))[delivery.id])


async def replay_span(
    session: AsyncSession, *, endpoint: WebhookEndpoint, since: datetime, until: datetime, now: datetime
) -> int:
    """Send every change from `since` to before `until` that the endpoint's types match; return how many.

    What is pending already is not counted. Raises ReplayTooLarge, WebhookEndpointDisabled.
    """
    _require_enabled(endpoint)
    span = {
        "organization_id": endpoint.organization_id,
        "since": since,
        "until": until,
        "all_types": not endpoint.event_types,
        "event_types": endpoint.event_types,
    }
    if (await session.scalar(SPANNED, span | {"limit": MOST_REPLAYED + 1}) or 0) > MOST_REPLAYED:
        raise ReplayTooLarge(f"It has more than {MOST_REPLAYED} changes. {ReplayTooLarge.detail}")
    enqueued: int = (await session.execute(REPLAY, span | {"endpoint_id": endpoint.id, "now": now})).scalar_one()
    return enqueued


async def send_test(session: AsyncSession, *, endpoint: WebhookEndpoint, now: datetime) -> DeliveryLog:
    """Enqueue a message of the type webhook.test. Raises WebhookEndpointDisabled."""
    _require_enabled(endpoint)
    delivery = Delivery(
        id=uuid.uuid4(),
        endpoint_id=endpoint.id,
        state=DeliveryState.PENDING,
        attempts=0,
        created_at=now,
        since=now,
        next_attempt_at=now,
    )
    session.add(delivery)
    await session.flush()
    return DeliveryLog(delivery, None, [])


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at:
        raise WebhookEndpointDisabled(disabledReason=endpoint.disabled_reason)

"""The delivery log of an endpoint, replays and test deliveries."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import DeliveryNotFound, ReplayTooLarge, WebhookEndpointDisabled
from app.core.pagination import Page, encode_cursor, newest_first
from app.models import Change, Delivery, DeliveryAttempt, WebhookEndpoint
from app.webhooks.retry_policy import DeliveryState

MAX_REPLAYED = 10_000  # changes in one call
MAX_ATTEMPTS_SHOWN = 20  # the latest of each delivery

_IN_SPAN = """
    SELECT id FROM changes
    WHERE organization_id = :organization_id AND at >= :since AND at < :until
        AND (:all_types OR type = ANY (CAST(:event_types AS text[])))
"""
COUNT_CHANGES = text(f"SELECT count(*) FROM ({_IN_SPAN} LIMIT :limit) spanned")  # noqa: S608 - our own text
# Pending deliveries are left as they are.
REPLAY_CHANGES = text(f"""
    WITH enqueued AS (
        INSERT INTO deliveries (endpoint_id, change_id, created_at, since, next_attempt_at)
        SELECT :endpoint_id, id, :now, :now, :now FROM ({_IN_SPAN}) spanned ORDER BY id
        ON CONFLICT (endpoint_id, change_id) DO UPDATE
        SET state = 'PENDING', since = :now, attempts = 0, next_attempt_at = :now, finished_at = NULL
        WHERE deliveries.state <> 'PENDING'
        RETURNING id
    )
    SELECT count(*) FROM enqueued
""")  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class DeliveryLog:
    """A delivery, its change (None for a test) and its latest attempts, oldest first."""

    delivery: Delivery
    change: Change | None
    attempts: Sequence[DeliveryAttempt]


async def list_deliveries(
    session: AsyncSession, *, endpoint: WebhookEndpoint, states: Sequence[DeliveryState], cursor: str | None, limit: int
) -> Page[DeliveryLog]:
    """Return a page of the endpoint's deliveries, newest first. Raises CursorInvalid."""
    query = select(Delivery, Change).outerjoin(Change, Change.id == Delivery.change_id)
    query = query.where(Delivery.endpoint_id == endpoint.id)
    if states:
        query = query.where(Delivery.state.in_(states))
    query = newest_first(query, Delivery.created_at, Delivery.id, cursor=cursor, limit=limit)
    rows = (await session.execute(query)).all()
    attempts = await _attempts(session, [delivery.id for delivery, _ in rows])
    logs = [DeliveryLog(delivery, change, attempts[delivery.id]) for delivery, change in rows]
    return Page.of(logs, limit, lambda last: encode_cursor(last.delivery.created_at, last.delivery.id.hex))


async def _attempts(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[DeliveryAttempt]]:
    rank = func.row_number().over(partition_by=DeliveryAttempt.delivery_id, order_by=DeliveryAttempt.id.desc())
    latest = select(DeliveryAttempt.id, rank.label("rank")).where(DeliveryAttempt.delivery_id.in_(ids)).subquery()
    rows = await session.scalars(
        select(DeliveryAttempt)
        .join(latest, latest.c.id == DeliveryAttempt.id)
        .where(latest.c.rank <= MAX_ATTEMPTS_SHOWN)
        .order_by(DeliveryAttempt.id)
    )
    attempts = defaultdict(list)
    for row in rows:
        attempts[row.delivery_id].append(row)
    return attempts


async def replay_delivery(
    session: AsyncSession, *, endpoint: WebhookEndpoint, delivery_id: uuid.UUID, now: datetime
) -> DeliveryLog:
    """Send a delivery again, with the same webhook-id. Raises DeliveryNotFound, WebhookEndpointDisabled."""
    _require_enabled(endpoint)
    query = select(Delivery).where(Delivery.id == delivery_id, Delivery.endpoint_id == endpoint.id)
    delivery = await session.scalar(query.with_for_update(key_share=True))
    if delivery is None:
        raise DeliveryNotFound
    if delivery.claim is None:  # else it is being sent
        delivery.state, delivery.attempts, delivery.finished_at = DeliveryState.PENDING, 0, None
        delivery.since = delivery.next_attempt_at = now
        await session.flush()
    change = await session.get(Change, delivery.change_id) if delivery.change_id else None
    return DeliveryLog(delivery, change, (await _attempts(session, [delivery.id]))[delivery.id])


async def replay_span(
    session: AsyncSession, *, endpoint: WebhookEndpoint, since: datetime, until: datetime, now: datetime
) -> int:
    """Enqueue every change from `since` to before `until` that the endpoint subscribes to; return how many.

    Pending deliveries are not counted. Raises ReplayTooLarge, WebhookEndpointDisabled.
    """
    _require_enabled(endpoint)
    span = {
        "organization_id": endpoint.organization_id,
        "since": since,
        "until": until,
        "all_types": not endpoint.event_types,
        "event_types": endpoint.event_types,
    }
    if (await session.scalar(COUNT_CHANGES, span | {"limit": MAX_REPLAYED + 1}) or 0) > MAX_REPLAYED:
        raise ReplayTooLarge(f"The span has more than {MAX_REPLAYED} changes. {ReplayTooLarge.detail}")
    return await session.scalar(REPLAY_CHANGES, span | {"endpoint_id": endpoint.id, "now": now}) or 0


async def send_test(session: AsyncSession, *, endpoint: WebhookEndpoint, now: datetime) -> DeliveryLog:
    """Enqueue a webhook.test event. Raises WebhookEndpointDisabled."""
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

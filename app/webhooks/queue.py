"""The queue of deliveries: claim with a lease, finish while the lease is held, prune what is old."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Change, Delivery, WebhookEndpoint
from app.webhooks.retry_policy import DeliveryResponse, DeliveryState, DisabledReason, RetryDecision, disabled_reason

LEASE = timedelta(seconds=30)  # longer than the sender's timeout
ENDPOINT_CONCURRENCY = 4  # deliveries in flight to one endpoint, per process
FAILING_CONCURRENCY = 16  # in flight to all failing endpoints, one each: they may hang, and must leave slots to others
RETENTION = timedelta(days=30)  # of finished deliveries
DISABLED_TTL = timedelta(days=3)  # how long deliveries wait for a disabled endpoint
DELETED_RETENTION = timedelta(days=1)
BATCH_SIZE = 1000  # rows per statement

# Part of the statement that records changes (app.interviews.changes): it enqueues a delivery to each endpoint that
# subscribes to the change's type, in the same transaction.
ENQUEUE_DELIVERIES = """
    delivery AS (
        INSERT INTO deliveries (endpoint_id, change_id, created_at, since, next_attempt_at)
        SELECT endpoint.id, change.id, change.at, change.at, change.at
        FROM change JOIN webhook_endpoints endpoint ON endpoint.organization_id = change.organization_id
        WHERE endpoint.disabled_at IS NULL
            AND (endpoint.event_types = '{}' OR change.type = ANY (endpoint.event_types))
    )
"""

# Endpoint by endpoint, so that the backlog of one, or of a disabled one, does not slow down the others. It locks only
# the rows that it claims, and skips those that another process is claiming.
CLAIM = text("""
    WITH endpoint AS MATERIALIZED (
        SELECT e.id, e.failing, e.slots, oldest.next_attempt_at,
            row_number() OVER (PARTITION BY e.failing ORDER BY oldest.next_attempt_at) AS place
        FROM (
            SELECT e.id, e.failures > 0 AS failing,
                CASE WHEN e.failures > 0 THEN 1 ELSE :each END - coalesce(b.count, 0) AS slots
            FROM webhook_endpoints e
            LEFT JOIN unnest(CAST(:busy AS uuid[]), CAST(:counts AS bigint[])) AS b (endpoint_id, count)
                ON b.endpoint_id = e.id
            WHERE e.disabled_at IS NULL AND (e.paused_until IS NULL OR e.paused_until <= :now)
        ) e
        CROSS JOIN LATERAL (
            SELECT next_attempt_at FROM deliveries
            WHERE endpoint_id = e.id AND state = 'PENDING' AND next_attempt_at <= :now
            ORDER BY next_attempt_at LIMIT 1
        ) oldest
        WHERE e.slots > 0
    ),
    due AS MATERIALIZED (
        SELECT d.id, d.claim, d.claimed_at
        FROM (
            SELECT id, slots FROM endpoint WHERE NOT failing OR place <= :failing_free
            ORDER BY next_attempt_at LIMIT :free
        ) e
        CROSS JOIN LATERAL (
            SELECT id, claim, claimed_at FROM deliveries
            WHERE endpoint_id = e.id AND state = 'PENDING' AND next_attempt_at <= :now
            ORDER BY next_attempt_at LIMIT e.slots FOR NO KEY UPDATE SKIP LOCKED
        ) d
        LIMIT :free
    ),
    lost AS (
        INSERT INTO delivery_attempts (delivery_id, at, duration, error)
        SELECT id, claimed_at, :now - claimed_at, :lost FROM due WHERE claim IS NOT NULL
    )
    UPDATE deliveries
    SET claim = gen_random_uuid(), claimed_at = :now, attempts = attempts + 1, next_attempt_at = :until
    FROM due WHERE deliveries.id = due.id
    RETURNING deliveries.id
""")
LOST = "The worker stopped before it knew the response."

FINISH = text("""
    WITH finished AS (
        UPDATE deliveries SET state = :state, claim = NULL, next_attempt_at = :next_attempt_at,
            finished_at = :finished_at
        WHERE id = :id AND claim = :claim
        RETURNING id
    ),
    attempt AS (
        INSERT INTO delivery_attempts (delivery_id, at, duration, status_code, error)
        SELECT id, :at, :duration, :status_code, :error FROM finished
    )
    SELECT id FROM finished
""")
RESET_FAILURES = text("""
    UPDATE webhook_endpoints SET failures = 0, failing_since = NULL, paused_until = NULL
    WHERE id = :id AND failures > 0
""")

EXPIRE = text("""
    UPDATE deliveries SET state = 'FAILED', claim = NULL, finished_at = :now WHERE id IN (
        SELECT d.id FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
        WHERE e.disabled_at <= :before AND d.state = 'PENDING' AND d.since <= :before LIMIT :batch
    )
""")
PRUNE = text("""
    DELETE FROM deliveries WHERE id IN (
        SELECT id FROM deliveries WHERE finished_at <= :before ORDER BY finished_at LIMIT :batch
    )
""")
PRUNE_DELETED = text("""
    DELETE FROM deliveries WHERE id IN (
        SELECT d.id FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
        WHERE e.deleted_at <= :before LIMIT :batch
    )
""")
PRUNE_ENDPOINTS = text("""
    DELETE FROM webhook_endpoints e
    WHERE e.deleted_at <= :before AND NOT EXISTS (SELECT FROM deliveries d WHERE d.endpoint_id = e.id)
""")
BACKLOG = text("""
    SELECT coalesce(sum(d.count), 0) AS waiting, min(d.oldest) AS oldest FROM webhook_endpoints e
    CROSS JOIN LATERAL (
        SELECT count(*), min(next_attempt_at) AS oldest FROM deliveries
        WHERE endpoint_id = e.id AND state = 'PENDING' AND next_attempt_at <= :now
    ) d
    WHERE e.disabled_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery that this process holds a lease on. `change` is None for a test."""

    delivery: Delivery
    endpoint: WebhookEndpoint
    change: Change | None


async def claim(
    session: AsyncSession, *, under_way: Sequence[ClaimedDelivery], concurrency: int, now: datetime
) -> list[ClaimedDelivery]:
    """Claim due deliveries. With those under way they keep the limits for the process, endpoints and failing ones."""
    busy = Counter(claimed.endpoint.id for claimed in under_way)
    failing = sum(claimed.endpoint.failures > 0 for claimed in under_way)
    ids = await session.scalars(
        CLAIM,
        {
            "busy": list(busy),
            "counts": list(busy.values()),
            "each": ENDPOINT_CONCURRENCY,
            "free": concurrency - len(under_way),
            "failing_free": FAILING_CONCURRENCY - failing,
            "now": now,
            "until": now + LEASE,
            "lost": LOST,
        },
    )
    rows = await session.execute(
        select(Delivery, WebhookEndpoint, Change)
        .join(WebhookEndpoint, WebhookEndpoint.id == Delivery.endpoint_id)
        .outerjoin(Change, Change.id == Delivery.change_id)
        .where(Delivery.id.in_(ids.all()))
    )
    return [ClaimedDelivery(*row) for row in rows]


async def finish(
    session: AsyncSession,
    *,
    claimed: ClaimedDelivery,
    response: DeliveryResponse,
    decision: RetryDecision,
    now: datetime,
) -> bool:
    """Store the result of an attempt. Return False if the lease expired and another process claimed the delivery."""
    delivery = claimed.delivery
    finished = await session.scalar(
        FINISH,
        {
            "id": delivery.id,
            "claim": delivery.claim,
            "state": decision.state,
            "next_attempt_at": decision.next_attempt_at,
            "finished_at": None if decision.state is DeliveryState.PENDING else now,
            "at": response.at,
            "duration": response.duration,
            "status_code": response.status_code,
            "error": response.error,
        },
    )
    if finished is not None and decision.state is DeliveryState.DELIVERED:
        await session.execute(RESET_FAILURES, {"id": delivery.endpoint_id})
    return finished is not None


async def record_failure(
    session: AsyncSession,
    *,
    claimed: ClaimedDelivery,
    response: DeliveryResponse,
    decision: RetryDecision,
    now: datetime,
) -> DisabledReason | None:
    """Count a failed attempt against its endpoint. Return the reason if that disables it."""
    endpoint = await session.get_one(
        WebhookEndpoint, claimed.endpoint.id, with_for_update={"key_share": True}, populate_existing=True
    )
    if endpoint.url != claimed.endpoint.url or endpoint.disabled_at:
        return None  # the URL has changed since, or it is disabled already
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or response.at
    endpoint.paused_until = decision.paused_until or endpoint.paused_until
    reason = disabled_reason(response, failures=endpoint.failures, failing_since=endpoint.failing_since, now=now)
    if reason:
        endpoint.disabled_at, endpoint.disabled_reason = now, reason
    return reason


@dataclass(frozen=True, slots=True)
class Backlog:
    """Due deliveries: how many, and how long the oldest has waited."""

    count: int
    age: timedelta


async def backlog(session: AsyncSession, *, now: datetime) -> Backlog:
    row = (await session.execute(BACKLOG, {"now": now})).one()
    return Backlog(int(row.waiting), now - row.oldest if row.oldest else timedelta())


async def expire(session: AsyncSession, *, now: datetime) -> bool:
    """Fail a batch of deliveries that waited too long for a disabled endpoint. Return whether there may be more."""
    expired = await session.execute(EXPIRE, {"now": now, "before": now - DISABLED_TTL, "batch": BATCH_SIZE})
    return bool(expired.rowcount == BATCH_SIZE)  # type: ignore[attr-defined] # the result of an UPDATE has it


async def prune(session: AsyncSession, *, now: datetime) -> bool:
    """Delete a batch of old deliveries and deleted endpoints. Return whether there may be more."""
    old = await session.execute(PRUNE, {"before": now - RETENTION, "batch": BATCH_SIZE})
    orphaned = await session.execute(PRUNE_DELETED, {"before": now - DELETED_RETENTION, "batch": BATCH_SIZE})
    await session.execute(PRUNE_ENDPOINTS, {"before": now - DELETED_RETENTION})
    return BATCH_SIZE in (old.rowcount, orphaned.rowcount)  # type: ignore[attr-defined] # the result of a DELETE has it

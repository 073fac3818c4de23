"""An organization's webhook endpoints: made, changed, given another secret, deleted."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import TooManyWebhookEndpoints, WebhookEndpointNotFound
from app.core.pagination import decode_row, encode_cursor
from app.models import ChangeType, WebhookEndpoint
from app.webhooks.retry_policy import DisabledReason
from app.webhooks.signing import new_secret

MOST = 50  # endpoints of an organization: each of its changes is written once for each of them
BOTH_SIGN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class EndpointPage:
    endpoints: Sequence[WebhookEndpoint]
    next_cursor: str | None


async def create_endpoint(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    url: str,
    description: str,
    event_types: Sequence[ChangeType],
    now: datetime,
) -> WebhookEndpoint:
    """Make an endpoint, enabled, with a secret of its own. Raises TooManyWebhookEndpoints.

    The URL was checked by check_target, outside the transaction.
    """
    there = select(func.count()).where(
        WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.deleted_at.is_(None)
    )
    if (await session.scalar(there) or 0) >= MOST:
        raise TooManyWebhookEndpoints(f"An organization has {MOST} at most. {TooManyWebhookEndpoints.detail}")
    endpoint = WebhookEndpoint(
        id=uuid.uuid4(),
        organization_id=organization_id,
        url=url,
        description=description,
        event_types=_stored(event_types),
        secret=new_secret(),
        failures=0,
        created_at=now,
        updated_at=now,
    )
    session.add(endpoint)
    await session.flush()
    return endpoint


async def find_endpoint(
    session: AsyncSession, *, organization_id: uuid.UUID, endpoint_id: uuid.UUID, lock: bool = False
) -> WebhookEndpoint:
    """Return the organization's endpoint. Raises WebhookEndpointNotFound, for another organization's as well."""
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.id == endpoint_id,
        WebhookEndpoint.organization_id == organization_id,
        WebhookEndpoint.deleted_at.is_(None),
    )
    endpoint = await session.scalar(query.with_for_update(key_share=True) if lock else query)
    if endpoint is None:
        raise WebhookEndpointNotFound
    return endpoint


async def list_endpoints(
    session: AsyncSession, *, organization_id: uuid.UUID, cursor: str | None, limit: int
) -> EndpointPage:
    """Return a page of the organization's endpoints, newest first. Raises CursorInvalid."""
    place = tuple_(WebhookEndpoint.created_at, WebhookEndpoint.id)
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.deleted_at.is_(None)
    )
    if cursor:
        at, key, _ = decode_row(cursor)
        query = query.where(place < tuple_(at, key))
    query = query.order_by(WebhookEndpoint.created_at.desc(), WebhookEndpoint.id.desc()).limit(limit + 1)
    found = (await session.scalars(query)).all()
    last = found[limit - 1] if len(found) > limit else None
    return EndpointPage(found[:limit], encode_cursor(last.created_at, last.id.hex) if last else None)


async def change_endpoint(
    session: AsyncSession, *, endpoint: WebhookEndpoint, to: dict[str, Any], now: datetime
) -> None:
    """Change a locked endpoint: url, description, event_types, enabled, as far as they are in `to`.

    Another address begins with a clean slate, and so does an endpoint that is enabled again.
    """
    if "url" in to and to["url"] != endpoint.url:
        endpoint.url = to["url"]
        _forgive(endpoint)
    if "description" in to:
        endpoint.description = to["description"]
    if "event_types" in to:
        endpoint.event_types = _stored(to["event_types"])
    if to.get("enabled") is True:
        endpoint.disabled_at = endpoint.disabled_reason = None
        _forgive(endpoint)
    elif to.get("enabled") is False and endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = now, DisabledReason.MANUAL
    endpoint.updated_at = now
    await session.flush()


def _forgive(endpoint: WebhookEndpoint) -> None:
    endpoint.failures = 0
    endpoint.failing_since = endpoint.paused_until = None


async def rotate_secret(session: AsyncSession, *, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Give a locked endpoint a new secret; with the one before is signed, too, for a day. An older one is dropped."""
    endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, now + BOTH_SIGN
    endpoint.secret = new_secret()
    endpoint.updated_at = now
    await session.flush()


async def delete_endpoint(session: AsyncSession, *, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Delete a locked endpoint, and its secrets at once (answers kept for an Idempotency-Key have them for a day).

    What was pending is not sent any more.
    """
    endpoint.deleted_at = now
    endpoint.disabled_at = endpoint.disabled_at or now
    endpoint.disabled_reason = endpoint.disabled_reason or DisabledReason.MANUAL
    endpoint.secret, endpoint.previous_secret, endpoint.previous_secret_until = "", None, None
    await session.flush()


def _stored(event_types: Sequence[ChangeType]) -> list[str]:
    return [each.value for each in dict.fromkeys(event_types)]

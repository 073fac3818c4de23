"""An organization's webhook endpoints: create, find, list, change, rotate the secret, delete."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import TooManyWebhookEndpoints, WebhookEndpointNotFound
from app.core.pagination import Page, encode_cursor, newest_first
from app.models import ChangeType, Organization, WebhookEndpoint
from app.webhooks.payload import new_secret
from app.webhooks.retry_policy import DisabledReason

MAX_ENDPOINTS = 50  # of an organization: each of its changes writes a delivery for each of them
ROTATION_OVERLAP = timedelta(hours=24)  # messages are signed with the previous secret too


async def create_endpoint(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    url: str,
    description: str,
    event_types: Sequence[ChangeType],
    now: datetime,
) -> WebhookEndpoint:
    """Create an enabled endpoint. Raises TooManyWebhookEndpoints. Call check_url before, outside the transaction."""
    # Calls at the same time take turns, so that each counts the endpoints of those before it.
    await session.execute(
        select(Organization.id).where(Organization.id == organization_id).with_for_update(key_share=True)
    )
    count = select(func.count()).where(
        WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.deleted_at.is_(None)
    )
    if (await session.scalar(count) or 0) >= MAX_ENDPOINTS:
        limit = f"An organization may have at most {MAX_ENDPOINTS}."
        raise TooManyWebhookEndpoints(f"{limit} {TooManyWebhookEndpoints.detail}")
    endpoint = WebhookEndpoint(
        id=uuid.uuid4(),
        organization_id=organization_id,
        url=url,
        description=description,
        event_types=_event_type_values(event_types),
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
    """Return the organization's endpoint. Raises WebhookEndpointNotFound, also for another organization's."""
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
) -> Page[WebhookEndpoint]:
    """Return a page of the organization's endpoints, newest first. Raises CursorInvalid."""
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.organization_id == organization_id, WebhookEndpoint.deleted_at.is_(None)
    )
    query = newest_first(query, WebhookEndpoint.created_at, WebhookEndpoint.id, cursor=cursor, limit=limit)
    rows = (await session.scalars(query)).all()
    return Page.of(rows, limit, lambda last: encode_cursor(last.created_at, last.id.hex))


async def change_endpoint(
    session: AsyncSession, *, endpoint: WebhookEndpoint, changes: dict[str, Any], now: datetime
) -> None:
    """Set url, description, event_types and enabled of a locked endpoint. A new URL or enabling it resets failures."""
    if "url" in changes and changes["url"] != endpoint.url:
        endpoint.url = changes["url"]
        _reset_failures(endpoint)
    if "description" in changes:
        endpoint.description = changes["description"]
    if "event_types" in changes:
        endpoint.event_types = _event_type_values(changes["event_types"])
    if changes.get("enabled") is True:
        endpoint.disabled_at = endpoint.disabled_reason = None
        _reset_failures(endpoint)
    elif changes.get("enabled") is False and endpoint.disabled_at is None:
        endpoint.disabled_at, endpoint.disabled_reason = now, DisabledReason.MANUAL
    endpoint.updated_at = now
    await session.flush()


def _reset_failures(endpoint: WebhookEndpoint) -> None:
    endpoint.failures = 0
    endpoint.failing_since = endpoint.paused_until = None


async def rotate_secret(session: AsyncSession, *, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Give a locked endpoint a new secret. Messages are signed with the previous one too for ROTATION_OVERLAP."""
    endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, now + ROTATION_OVERLAP
    endpoint.secret = new_secret()
    endpoint.updated_at = now
    await session.flush()


async def delete_endpoint(session: AsyncSession, *, endpoint: WebhookEndpoint, now: datetime) -> None:
    """Delete a locked endpoint: its secrets at once, its rows later by prune. Pending deliveries are not sent.

    Responses stored for an Idempotency-Key keep the secret until they expire.
    """
    endpoint.deleted_at = now
    endpoint.disabled_at = endpoint.disabled_at or now
    endpoint.disabled_reason = endpoint.disabled_reason or DisabledReason.MANUAL
    endpoint.secret, endpoint.previous_secret, endpoint.previous_secret_until = "", None, None
    await session.flush()


def _event_type_values(event_types: Sequence[ChangeType]) -> list[str]:
    return [event_type.value for event_type in dict.fromkeys(event_types)]

"""Idempotency keys: a retry with the same key gets the stored response, and has no effect.

As in Stripe's API and draft-ietf-httpapi-idempotency-key-header, a key belongs to one request, for a day. Unlike there,
of two concurrent requests both get the response, and only successful responses are stored.
"""

import hashlib
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import IdempotencyKeyReused
from app.models import IdempotencyKey

KEPT_FOR = timedelta(hours=24)
MOST_FORGOTTEN = 1000  # answers per statement
# in our own JSON; within a caller's text the quotes would be escaped
INTERVIEW_ID = re.compile(rb'"interviewId":"([0-9a-f-]{36})"')

EXPIRE = text("""
    WITH expired AS (
        DELETE FROM idempotency_keys WHERE (organization_id, key) IN (
            SELECT organization_id, key FROM idempotency_keys WHERE created_at <= :before
            ORDER BY created_at LIMIT :limit
        )
        RETURNING 1
    )
    SELECT count(*) FROM expired
    """)


@dataclass(frozen=True, slots=True)
class Call:
    """A call with an idempotency key. The fingerprint identifies its request."""

    organization_id: uuid.UUID
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a call."""

    status: int
    headers: dict[str, str]
    body: bytes


def fingerprint_of(*, method: str, path: str, body: bytes) -> bytes:
    """Return a hash of the request, which holds no personal data."""
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


async def take_turn(session: AsyncSession, *, call: Call) -> bool:
    """Try to lock the key until the transaction ends. Return whether it was free.

    It does not wait: waiting calls would hold the connections that joins need.
    """
    # A lock, not an early insert: an insert assigns a transaction id, and one that is older than the lock on an
    # interview puts the changes out of order.
    lock = func.hashtextextended(f"{call.organization_id} {call.key}", 0)
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(lock))))


async def kept_answer(session: AsyncSession, *, call: Call, now: datetime) -> Answer | None:
    """Return the stored response, None for a first call. Raises IdempotencyKeyReused if the request differs."""
    row = await session.scalar(
        select(IdempotencyKey).where(
            IdempotencyKey.organization_id == call.organization_id,
            IdempotencyKey.key == call.key,
            IdempotencyKey.created_at > now - KEPT_FOR,
        )
    )
    if row is None:
        return None
    if row.fingerprint != call.fingerprint:
        raise IdempotencyKeyReused
    return Answer(row.status, row.headers, row.body)


async def keep_answer(session: AsyncSession, *, call: Call, answer: Answer, now: datetime) -> None:
    """Store the response, in the transaction of the call itself. An expired one is replaced."""
    kept = insert(IdempotencyKey).values(
        organization_id=call.organization_id,
        key=call.key,
        fingerprint=call.fingerprint,
        status=answer.status,
        headers=answer.headers,
        body=answer.body,
        interview_ids=sorted({uuid.UUID(id_.decode()) for id_ in INTERVIEW_ID.findall(answer.body)}),
        created_at=now,
    )
    names = ("fingerprint", "status", "headers", "body", "interview_ids", "created_at")
    fresh = {name: kept.excluded[name] for name in names}
    await session.execute(
        kept.on_conflict_do_update(index_elements=[IdempotencyKey.organization_id, IdempotencyKey.key], set_=fresh)
    )


async def rewrite_answers(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID, rewrite: Callable[[Any], Any]
) -> None:
    """Replace each stored response about the interview by what `rewrite` returns for its JSON."""
    answers = await session.scalars(
        select(IdempotencyKey)
        .where(IdempotencyKey.organization_id == organization_id, IdempotencyKey.interview_ids.contains([interview_id]))
        .with_for_update()  # another interview of the same batch may be rewritten concurrently
        .execution_options(populate_existing=True)
    )
    for answer in answers:
        answer.body = orjson.dumps(rewrite(orjson.loads(answer.body)))
    await session.flush()


async def delete_expired_answers(session: AsyncSession, *, now: datetime) -> int:
    """Delete up to MOST_FORGOTTEN expired responses. Return their number."""
    return await session.scalar(EXPIRE, {"before": now - KEPT_FOR, "limit": MOST_FORGOTTEN}) or 0

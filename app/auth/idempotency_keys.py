"""Idempotency keys: a call that is repeated under its key is answered as it was the first time, and does nothing.

The manner is Stripe's, and that of the IETF's draft-ietf-httpapi-idempotency-key-header: a key belongs to one call, for
a day. Otherwise than there two calls at once both get the answer, and only what succeeded is kept.
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
MOST_FORGOTTEN = 1000  # answers, in one statement
# In the JSON that we write; in a text that somebody wrote the quotes have a backslash before them.
INTERVIEW_ID = re.compile(rb'"interviewId":"([0-9a-f-]{36})"')

FORGET = text(
    """
    WITH forgotten AS (
        DELETE FROM idempotency_keys WHERE (organization_id, key) IN (
            SELECT organization_id, key FROM idempotency_keys WHERE created_at <= :before
            ORDER BY created_at LIMIT :limit
        )
        RETURNING 1
    )
    SELECT count(*) FROM forgotten
    """
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call under a key. The fingerprint tells it from others."""

    organization_id: uuid.UUID
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def fingerprint_of(*, method: str, path: str, body: bytes) -> bytes:
    """Return what is kept of a call in order to know it again: no names, no numbers."""
    return hashlib.sha256(f"{method} {path}\n".encode() + body).digest()


async def take_turn(session: AsyncSession, *, call: Call) -> bool:
    """Tell whether no other call under the key is under way; then none is until the transaction ends.

    Never waits: whoever waited in the database would hold a connection, and many of them all that joins need.
    """
    # A lock, not an early insert: a transaction that has its id before it locks an interview disorders the changes.
    turn = func.hashtextextended(f"{call.organization_id} {call.key}", 0)
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(turn))))


async def kept_answer(session: AsyncSession, *, call: Call, now: datetime) -> Answer | None:
    """Return what the call was answered before; None: it is the first. Raises IdempotencyKeyReused."""
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
    """Keep the answer, in the transaction of what it tells of; one that has expired is replaced."""
    kept = insert(IdempotencyKey).values(
        organization_id=call.organization_id,
        key=call.key,
        fingerprint=call.fingerprint,
        status=answer.status,
        headers=answer.headers,
        body=answer.body,
        interview_ids=sorted({uuid.UUID(found.decode()) for found in INTERVIEW_ID.findall(answer.body)}),
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
    """Keep each answer that is about the interview as `rewrite` gives it, from JSON to JSON."""
    answers = await session.scalars(
        select(IdempotencyKey)
        .where(IdempotencyKey.organization_id == organization_id, IdempotencyKey.interview_ids.contains([interview_id]))
        .with_for_update()  # a batch's answer may be rewritten for another of its interviews just now
        .execution_options(populate_existing=True)
    )
    for answer in answers:
        answer.body = orjson.dumps(rewrite(orjson.loads(answer.body)))
    await session.flush()


async def delete_expired_answers(session: AsyncSession, *, now: datetime) -> int:
    """Delete answers that have expired; return how many, MOST_FORGOTTEN at most."""
    return await session.scalar(FORGET, {"before": now - KEPT_FOR, "limit": MOST_FORGOTTEN}) or 0

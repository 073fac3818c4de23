"""Record changes for the stream and for webhooks, in the transaction that makes the change."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from app.interviews.interview_rows import AnyInterview
from app.lifecycle import PublicStatus, public_status
from app.models import ChangeType
from app.webhooks.queue import ENQUEUE_DELIVERIES

CHANNEL = "changes"
"""Where Postgres notifies of each change, with the organization's id. For latency only: a notification may be lost."""

# A transaction may get its xid, wait for the interview's lock, and so come after one with a higher xid: the greater of
# the two keeps an interview's changes in order.
_RECORD = f"""
    WITH change AS (
        INSERT INTO changes
            (xid, organization_id, interview_id, sequence, at, type, attempt, status, previous_status, end_reason)
        SELECT
            greatest(
                pg_current_xact_id()::text::bigint,
                (SELECT before.xid FROM changes before
                 WHERE before.interview_id = row.interview_id AND before.sequence = row.sequence - 1)
            ),
            row.*
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bigint[], $7::text[], $8::text[],
            $9::text[]
        ) AS row (organization_id, interview_id, sequence, at, type, attempt, status, previous_status, end_reason)
        RETURNING id, organization_id, type, at
    ),
    {ENQUEUE_DELIVERIES}
    SELECT pg_notify('{CHANNEL}', organization_id::text) FROM change GROUP BY organization_id
"""  # noqa: S608 - our own text


NewChange = tuple[object, ...]
"""A row of that statement."""


def count_change(
    interview: AnyInterview,
    type_: ChangeType,
    previous: PublicStatus | None,
    now: datetime,
    *,
    attempt: int | None = None,
) -> NewChange:
    """Count a change that was made to the locked interview. Store the interview, then record the change.

    `previous` is the public status before it. `attempt` is the one that it is about, by default the current one.
    """
    interview.sequence += 1
    return (
        interview.organization_id,
        interview.id,
        interview.sequence,
        now,
        type_,
        attempt or interview.attempt,
        public_status(interview.status, opens_at=interview.opens_at, now=now),
        previous,
        interview.end_reason,
    )


def count_unmoved(
    interview: AnyInterview, type_: ChangeType, now: datetime, *, attempt: int | None = None
) -> NewChange:
    """Count a change that leaves the status as it is, as count_change() does."""
    interview.updated_at = now
    current = public_status(interview.status, opens_at=interview.opens_at, now=now)
    return count_change(interview, type_, current, now, attempt=attempt)


async def record_changes(connection: asyncpg.Connection, changes: Sequence[NewChange]) -> None:
    """Publish changes of stored interviews to the stream and to webhooks; at most one change of each interview."""
    if changes:
        await connection.execute(_RECORD, *zip(*changes, strict=True))

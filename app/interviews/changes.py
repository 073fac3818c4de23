"""Changes: what the stream shows and what webhooks tell, written in the transaction of the change itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver_connection
from app.core.timestamps import rfc3339
from app.interviews.interview_rows import AnyInterview
from app.interviews.shown import ShownStatus, shown_status
from app.models import Change

CHANNEL = "changes"
"""Postgres notifies it of each change, with the organization's id: for latency only, as a notification may be lost."""

# A transaction that wrote something else before it locked the interview has a lower xid than the one that changed the
# interview meanwhile: the greater of the two keeps an interview's changes in their order.
_RECORD = """
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
        ) AS row (
            organization_id, interview_id, sequence, at, type, attempt, status, previous_status,
            end_reason
        )
        RETURNING id, organization_id, type, at
    ),
    delivery AS (
        INSERT INTO deliveries (endpoint_id, change_id, created_at, since, next_attempt_at)
        SELECT endpoint.id, change.id, change.at, change.at, change.at
        FROM change JOIN webhook_endpoints endpoint ON endpoint.organization_id = change.organization_id
        WHERE endpoint.disabled_at IS NULL
            AND (endpoint.event_types = '{}' OR change.type = ANY (endpoint.event_types))
    )
    SELECT pg_notify('changes', organization_id::text) FROM change GROUP BY organization_id
"""


class ChangeType(StrEnum):
    """What a change was."""

    SCHEDULED = "interview.scheduled"
    STATUS_CHANGED = "interview.status_changed"
    AMENDED = "interview.amended"
    """The agent's report has corrected an end that was told before."""
    UPDATED = "interview.updated"
    """Its details or times are others; the status is the same."""
    PERSONAL_DATA_ERASED = "interview.personal_data_erased"
    """Only ids and times are left of it: whoever keeps a copy is to erase it too."""


def payload_of(change: Change) -> dict[str, object]:
    """Return what listeners and webhooks are told of a change: thin, in the form that Standard Webhooks recommends.

    Names, phone numbers and results are not in it: who may read them asks for the interview.
    """
    return {
        "type": change.type,
        "timestamp": rfc3339(change.at),
        "data": {
            "interviewId": str(change.interview_id),
            "status": change.status,
            "previousStatus": change.previous_status,
            "endReason": change.end_reason,
            "attempt": change.attempt,
            "sequence": change.sequence,
        },
    }


@dataclass(frozen=True, slots=True)
class NewChange:
    """A change of a locked interview that is counted, and not recorded yet. `previous`: the status shown before."""

    interview: AnyInterview
    type: ChangeType
    previous: ShownStatus | None


def count_change(interview: AnyInterview, type_: ChangeType, previous: ShownStatus | None) -> NewChange:
    """Count a change on the locked interview, whose row is stored before the change is recorded."""
    interview.sequence += 1
    return NewChange(interview, type_, previous)


async def record_changes(session: AsyncSession, changes: Sequence[NewChange], *, now: datetime) -> None:
    """Tell all who listen of the changes. Each interview has one of them at most."""
    await session.flush()  # a change refers to its interview, which may be new
    await write_changes(await driver_connection(session), changes, now=now)


async def write_changes(connection: asyncpg.Connection, changes: Sequence[NewChange], *, now: datetime) -> None:
    """Tell all who listen of changes of interviews that are stored. Each has one of them at most."""
    if changes:
        await connection.execute(_RECORD, *zip(*(_row(change, now) for change in changes), strict=True))


def _row(change: NewChange, now: datetime) -> tuple[object, ...]:
    interview = change.interview
    return (
        interview.organization_id,
        interview.id,
        interview.sequence,
        now,
        change.type,
        interview.attempt,
        shown_status(interview.status, opens_at=interview.opens_at, now=now),
        change.previous,
        interview.end_reason,
    )

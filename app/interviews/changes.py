"""Changes: what the stream shows and what webhooks tell, written in the transaction of the change itself."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.instants import rfc3339
from app.interviews.shown import shown_status
from app.lifecycle import Status
from app.models import Change, Interview

CHANNEL = "changes"
"""Postgres notifies it of each change, with the organization's id: for latency only, as a notification may be lost."""

RECORD = text(
    """
    WITH change AS (
        INSERT INTO changes
            (organization_id, interview_id, sequence, at, type, attempt, status, previous_status, end_reason)
        VALUES
            (:organization_id, :interview_id, :sequence, :at, :type, :attempt, :status, :previous_status, :end_reason)
        RETURNING id, organization_id, type, at
    ),
    delivery AS (
        INSERT INTO deliveries (endpoint_id, change_id, created_at, since, next_attempt_at)
        SELECT endpoint.id, change.id, change.at, change.at, change.at
        FROM change JOIN webhook_endpoints endpoint ON endpoint.organization_id = change.organization_id
        WHERE endpoint.disabled_at IS NULL
            AND (endpoint.event_types = '{}' OR change.type = ANY (endpoint.event_types))
    )
    SELECT pg_notify('changes', organization_id::text) FROM change
    """
)


class ChangeType(StrEnum):
    """What a change was."""

    SCHEDULED = "interview.scheduled"
    STATUS_CHANGED = "interview.status_changed"
    AMENDED = "interview.amended"
    """The agent's report has corrected an end that was told before."""
    UPDATED = "interview.updated"
    """Its details or times are others; the status is the same."""


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


async def record_change(
    session: AsyncSession, *, interview: Interview, type_: ChangeType, previous: Status | None, now: datetime
) -> None:
    """Count the change on the locked interview, and tell all who listen. `previous` is the status before."""
    interview.sequence += 1
    before = shown_status(previous, opens_at=interview.opens_at, now=now) if previous else None
    values = {
        "organization_id": interview.organization_id,
        "interview_id": interview.id,
        "sequence": interview.sequence,
        "at": now,
        "type": type_,
        "attempt": interview.attempt,
        "status": shown_status(interview.status, opens_at=interview.opens_at, now=now),
        "previous_status": before,
        "end_reason": interview.end_reason,
    }
    await session.execute(RECORD, values)

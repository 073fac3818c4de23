"""Records what a worker did, on the interview's row and its timeline, by one asyncpg statement each.

An effect belongs to one attempt: if the next one was opened meanwhile, nothing is written.
"""

import uuid
from datetime import datetime, timedelta

import asyncpg

from app.interviews.interview_rows import InterviewRow

MAX_BACKOFF = timedelta(seconds=60)  # between two tries for an interview whose LiveKit does not answer

_INSERT_ENTRY = "INSERT INTO timeline (interview_id, attempt, kind, name, detail) SELECT id, attempt, 'service',"
_ROOM_DELETED = f"""
    WITH before AS (
        SELECT id, attempt, room_gone_at IS NOT NULL AS was_gone FROM interviews
        WHERE id = $1 AND attempt = $2 FOR NO KEY UPDATE
    ), updated AS (
        UPDATE interviews i SET room_gone_at = $3, revivals = revivals + ($4 AND was_gone)::int
        FROM before WHERE i.id = before.id
    ), entry AS (
        {_INSERT_ENTRY} 'room_deleted', jsonb_build_object('cameBack', was_gone) FROM before WHERE $4
    )
    SELECT $4 AND was_gone FROM before
"""  # noqa: S608 - of constants alone
_AGENT_DISPATCHED = f"""
    WITH updated AS (
        UPDATE interviews SET dispatches = $3, dispatched_at = $4 WHERE id = $1 AND attempt = $2 AND dispatches < $3
        RETURNING id, attempt
    )
    {_INSERT_ENTRY} 'agent_dispatched', jsonb_build_object('number', $3::bigint) FROM updated
"""  # noqa: S608 - of constants alone
_TIME_LEFT_ANNOUNCED = f"""
    WITH updated AS (UPDATE interviews SET told = $3 WHERE id = $1 AND attempt = $2 RETURNING id, attempt)
    {_INSERT_ENTRY} 'time_left_announced', jsonb_build_object('secondsLeft', $4::bigint) FROM updated WHERE $5
"""  # noqa: S608 - of constants alone
# Exponential backoff. Only the first failure is on the timeline.
_POSTPONE = f"""
    WITH updated AS (
        UPDATE interviews SET failures = failures + 1,
            leased_until = $2::timestamptz + least(interval '1 second' * 2 ^ least(failures + 1, 10), $3)
        WHERE id = $1
        RETURNING id, attempt, failures
    )
    {_INSERT_ENTRY} 'postponed', jsonb_build_object('why', $4::text) FROM updated WHERE failures = 1
"""  # noqa: S608 - of constants alone
_RELEASE = "UPDATE interviews SET leased_until = $2, failures = 0 WHERE id = $1"


async def room_deleted(
    connection: asyncpg.Connection, row: InterviewRow, *, gone_at: datetime, existed: bool
) -> bool | None:
    """Record that the room is gone; return whether it had come back after a deletion, None for an old attempt."""
    came_back: bool | None = await connection.fetchval(_ROOM_DELETED, row.id, row.attempt, gone_at, existed)
    return came_back


async def agent_dispatched(connection: asyncpg.Connection, row: InterviewRow, *, number: int, at: datetime) -> None:
    await connection.execute(_AGENT_DISPATCHED, row.id, row.attempt, number, at)


async def time_left_announced(
    connection: asyncpg.Connection, row: InterviewRow, *, announced: timedelta, seconds: int, is_sent: bool
) -> None:
    """Record that `announced` needs no announcement any more; the timeline shows the seconds only if they were sent."""
    await connection.execute(_TIME_LEFT_ANNOUNCED, row.id, row.attempt, announced, seconds, is_sent)


async def postpone(connection: asyncpg.Connection, interview_id: uuid.UUID, why: str, *, now: datetime) -> None:
    await connection.execute(_POSTPONE, interview_id, now, MAX_BACKOFF, why)


async def release(connection: asyncpg.Connection, interview_id: uuid.UUID, *, until: datetime | None) -> None:
    """Give the lease back, or keep it until then; reset the backoff."""
    await connection.execute(_RELEASE, interview_id, until)

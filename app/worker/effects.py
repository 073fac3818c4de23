"""What a worker did, written on the interview's row and said on its timeline: each by one statement of asyncpg's own.

A deed for one attempt is nothing to the next: if that is open meanwhile, nothing is written.
"""

import uuid
from datetime import datetime, timedelta

import asyncpg

from app.interviews.interview_rows import InterviewRow

LONGEST_PAUSE = timedelta(seconds=60)  # between two tries for an interview whose LiveKit does not answer

_SAY = "INSERT INTO timeline (interview_id, attempt, kind, name, detail) SELECT id, attempt, 'service',"
_ROOM_DELETED = f"""
    WITH before AS (
        SELECT id, attempt, room_gone_at IS NOT NULL AS was_gone FROM interviews
        WHERE id = $1 AND attempt = $2 FOR NO KEY UPDATE
    ), done AS (
        UPDATE interviews i SET room_gone_at = $3, revivals = revivals + ($4 AND was_gone)::int
        FROM before WHERE i.id = before.id
    ), said AS (
        {_SAY} 'room_deleted', jsonb_build_object('cameBack', was_gone) FROM before WHERE $4
    )
    SELECT $4 AND was_gone FROM before
"""  # noqa: S608 - of constants alone
_AGENT_DISPATCHED = f"""
    WITH done AS (
        UPDATE interviews SET dispatches = $3, dispatched_at = $4 WHERE id = $1 AND attempt = $2 AND dispatches < $3
        RETURNING id, attempt
    )
    {_SAY} 'agent_dispatched', jsonb_build_object('number', $3::bigint) FROM done
"""  # noqa: S608 - of constants alone
_TIME_TOLD = f"""
    WITH done AS (UPDATE interviews SET told = $3 WHERE id = $1 AND attempt = $2 RETURNING id, attempt)
    {_SAY} 'time_left_announced', jsonb_build_object('secondsLeft', $4::bigint) FROM done WHERE $5
"""  # noqa: S608 - of constants alone
# Again later, and ever later; the first time it is said.
_PUT_OFF = f"""
    WITH done AS (
        UPDATE interviews SET failures = failures + 1,
            leased_until = $2::timestamptz + least(interval '1 second' * 2 ^ least(failures + 1, 10), $3)
        WHERE id = $1
        RETURNING id, attempt, failures
    )
    {_SAY} 'postponed', jsonb_build_object('why', $4::text) FROM done WHERE failures = 1
"""  # noqa: S608 - of constants alone
_RELEASED = "UPDATE interviews SET leased_until = $2, failures = 0 WHERE id = $1"


async def room_deleted(
    connection: asyncpg.Connection, of: InterviewRow, *, gone_at: datetime, existed: bool
) -> bool | None:
    """Note that the room is gone; return whether it had come back to life, None if another attempt is open."""
    came_back: bool | None = await connection.fetchval(_ROOM_DELETED, of.id, of.attempt, gone_at, existed)
    return came_back


async def agent_dispatched(connection: asyncpg.Connection, of: InterviewRow, *, number: int, at: datetime) -> None:
    await connection.execute(_AGENT_DISPATCHED, of.id, of.attempt, number, at)


async def time_told(
    connection: asyncpg.Connection, of: InterviewRow, *, left: timedelta, seconds: int, sent: bool
) -> None:
    """Note that of `left` nobody needs to be told any more; say how many seconds it was if it was sent to anybody."""
    await connection.execute(_TIME_TOLD, of.id, of.attempt, left, seconds, sent)


async def postpone(connection: asyncpg.Connection, interview_id: uuid.UUID, why: str, *, now: datetime) -> None:
    await connection.execute(_PUT_OFF, interview_id, now, LONGEST_PAUSE, why)


async def released(connection: asyncpg.Connection, interview_id: uuid.UUID, *, until: datetime | None) -> None:
    """Give the lease back, or keep it until then; what failed before is forgotten."""
    await connection.execute(_RELEASED, interview_id, until)

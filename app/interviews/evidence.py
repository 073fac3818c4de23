"""What webhooks tell, written as facts: many interviews' by one statement, one event of each."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.interviews.rows import recordset
from app.lifecycle import Outcome, Role

# An id that is on the timeline already drops its event out. The events' interviews are locked, and LiveKit sends a
# room's events one after the other: the places on the timeline are in its queue's order.
# A room's first known end stands. A sid that was found by asking may have been put into the room that was there a
# moment before. The first left that is known of a sid stands: LiveKit sends one, so a second would be no better.
RECORD = text(
    """
    WITH event AS (
        SELECT * FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS event (
            interview_id uuid, attempt bigint, name text, detail jsonb, livekit_event_id text, recorded_at timestamptz,
            room_sid text, room_created_at timestamptz, room_ended_at timestamptz,
            sid text, identity text, role text, joined_at timestamptz, left_at timestamptz, leave_reason text,
            outcome text
        )
    ),
    added AS (
        INSERT INTO timeline (interview_id, attempt, kind, name, detail, livekit_event_id)
        SELECT interview_id, attempt, 'livekit', name, detail, livekit_event_id FROM event
        ON CONFLICT (livekit_event_id) DO NOTHING
        RETURNING id, interview_id
    ),
    room AS (
        INSERT INTO rooms (interview_id, sid, attempt, created_at, ended_at, recorded_at)
        SELECT interview_id, room_sid, attempt, room_created_at, room_ended_at, recorded_at
        FROM event JOIN added USING (interview_id)
        WHERE room_sid IS NOT NULL
        ON CONFLICT (interview_id, sid) DO UPDATE SET ended_at = coalesce(rooms.ended_at, excluded.ended_at)
    ),
    joined AS (
        INSERT INTO connections
            (interview_id, sid, attempt, room_sid, identity, role, joined_at, joined_order, recorded_at)
        SELECT interview_id, sid, attempt, coalesce(room_sid, ''), identity, role, joined_at, added.id, recorded_at
        FROM event JOIN added USING (interview_id)
        WHERE sid IS NOT NULL AND left_at IS NULL
        ON CONFLICT (interview_id, sid) DO UPDATE SET room_sid = excluded.room_sid
        WHERE connections.room_sid <> excluded.room_sid
    ),
    gone AS (
        INSERT INTO connections
            (interview_id, sid, attempt, room_sid, identity, role, joined_at, joined_order, recorded_at,
             left_at, left_order, leave_reason, outcome)
        SELECT interview_id, sid, attempt, coalesce(room_sid, ''), identity, role, joined_at, added.id, recorded_at,
            left_at, added.id, leave_reason, outcome
        FROM event JOIN added USING (interview_id)
        WHERE sid IS NOT NULL AND left_at IS NOT NULL
        ON CONFLICT (interview_id, sid) DO UPDATE SET left_at = excluded.left_at, left_order = excluded.left_order,
            leave_reason = excluded.leave_reason, outcome = excluded.outcome
        WHERE connections.left_at IS NULL
    )
    SELECT interview_id FROM added
    """
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one event tells of one interview. An event id or room sid that it has not is None."""

    interview_id: uuid.UUID
    attempt: int
    name: str
    detail: dict[str, Any]
    livekit_event_id: str | None
    recorded_at: datetime
    room_sid: str | None
    room_created_at: datetime
    room_ended_at: datetime | None
    connection: "Seen | None"


@dataclass(frozen=True, slots=True)
class Seen:
    """A participant that came, or (left_at is known) went. An outcome is an agent's."""

    sid: str
    identity: str
    role: Role
    joined_at: datetime
    left_at: datetime | None
    leave_reason: str | None
    outcome: Outcome | None


async def record_evidence(session: AsyncSession, events: Sequence[Evidence]) -> set[uuid.UUID]:
    """Store at most one event of each locked interview; return the interviews whose event was not known before."""
    return set(await session.scalars(RECORD, {"events": recordset(map(_row, events))}))


def _row(event: Evidence) -> dict[str, object]:
    row: dict[str, object] = {name: getattr(event, name) for name in _OF_EVENT}
    return row | {name: getattr(event.connection, name) for name in Seen.__slots__} if event.connection else row


_OF_EVENT = tuple(name for name in Evidence.__slots__ if name != "connection")

"""Participants in LiveKit events: who they are to the interview, and how their events are stored as facts."""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from app.interviews.interview_rows import AnyInterview
from app.lifecycle import Outcome, Role
from app.livekit.webhooks import Participant

# An id that is on the timeline already drops its event out. The events' interviews are locked, and LiveKit sends a
# room's events one after the other: the places on the timeline are in its queue's order.
# A room's first known end stands. A sid that was found by asking may have been put into the room that was there a
# moment before. The first left that is known of a sid stands: LiveKit sends one, so a second would be no better.

log = logging.getLogger(__name__)

OUTCOME = "interview.outcome"  # the attribute by which an agent announces how the conversation went
ON_BEHALF = "lk.publish_on_behalf"  # an avatar, say, that publishes for an agent and is none itself


def role_of(who: Participant, interview: AnyInterview) -> Role:
    if who.kind == "AGENT" and not who.attributes.get(ON_BEHALF):
        return Role.AGENT
    if who.kind == "STANDARD" and not who.hidden and who.identity == interview.candidate_identity:
        return Role.CANDIDATE
    return Role.OTHER


def outcome_of(who: Participant) -> Outcome | None:
    """Return what the agent announced. What is no outcome that we know is at least not a completed conversation."""
    said = who.attributes.get(OUTCOME)
    if not said:
        return None
    if said not in set(Outcome):
        # not in its own words: whoever may set attributes may write there whatever they like
        log.warning("agent %s announced an outcome that is none of %s", who.sid, ", ".join(Outcome))
        return Outcome.PENDING
    return Outcome(said)


_RECORD = """
    WITH event AS (
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::jsonb[], $5::text[], $6::timestamptz[], $7::text[],
            $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::timestamptz[],
            $14::timestamptz[], $15::text[], $16::text[]
        ) AS event (
            interview_id, attempt, name, detail, livekit_event_id, recorded_at, room_sid,
            room_created_at, room_ended_at, sid, identity, role, joined_at,
            left_at, leave_reason, outcome
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


class ParticipantEvent(NamedTuple):
    """A participant that came, or (left_at is known) went. An outcome is an agent's."""

    sid: str
    identity: str
    role: Role
    joined_at: datetime
    left_at: datetime | None
    leave_reason: str | None
    outcome: Outcome | None


class EventRecord(NamedTuple):
    """What one event tells of one interview. An event id or room sid that it has not is None; `detail` is JSON."""

    interview_id: uuid.UUID
    attempt: int
    name: str
    detail: str
    livekit_event_id: str | None
    recorded_at: datetime
    room_sid: str | None
    room_created_at: datetime
    room_ended_at: datetime | None
    connection: ParticipantEvent | None


_NOBODY = (None,) * len(ParticipantEvent._fields)


async def record_events(connection: asyncpg.Connection, events: Sequence[EventRecord]) -> set[uuid.UUID]:
    """Store at most one event of each locked interview; return the interviews whose event was not known before."""
    rows = [(*event, *(seen or _NOBODY)) for *event, seen in events]
    return {row[0] for row in await connection.fetch(_RECORD, *zip(*rows, strict=True))}

"""Participants of LiveKit's events: their role in the interview, and how their events are stored as facts."""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from app.interviews.interview_rows import AnyInterview
from app.lifecycle import Outcome, Role
from app.livekit.webhooks import Participant

log = logging.getLogger(__name__)

OUTCOME = "interview.outcome"  # the attribute by which an agent announces the outcome of the conversation
ON_BEHALF = "lk.publish_on_behalf"  # set on a participant that publishes for an agent, such as an avatar
DISPATCHED_AS = "lk.agent_name"  # the agent's name: LiveKit writes it into the token of each agent that it dispatches


def role_of(who: Participant, interview: AnyInterview, *, agent_name: str) -> Role:
    """Return the role of a participant at first sight of its sid. Once a role is stored for the sid, that one counts.

    `agent_name` is the setting AGENT_NAME: with it, an agent of another name is no interviewer.
    """
    if who.hidden:  # it can only listen
        return Role.OTHER
    if who.kind == "AGENT" and not who.attributes.get(ON_BEHALF) and _has_name(who, agent_name):
        return Role.AGENT
    if who.kind == "STANDARD" and who.identity == interview.candidate_identity:
        return Role.CANDIDATE
    return Role.OTHER


def _has_name(agent: Participant, agent_name: str) -> bool:
    """Return whether the agent has this name, as far as LiveKit tells it. An agent without a name has ''."""
    return not agent_name or agent.attributes.get(DISPATCHED_AS, agent_name) == agent_name


def outcome_of(who: Participant) -> Outcome | None:
    """Return the outcome that the agent announced, if any. An unknown one counts as PENDING."""
    announced = who.attributes.get(OUTCOME)
    if not announced:
        return None
    if announced not in set(Outcome):
        # Without its value, which may be any text.
        log.warning("agent %s announced an unknown outcome, expected one of %s", who.sid, ", ".join(Outcome))
        return Outcome.PENDING
    return Outcome(announced)


class ParticipantEvent(NamedTuple):
    """A participant that joined, or left if left_at is set. The role is the one to store if the sid is new."""

    sid: str
    identity: str
    role: Role
    joined_at: datetime
    left_at: datetime | None
    leave_reason: str | None
    outcome: Outcome | None


class EventRecord(NamedTuple):
    """One event of one interview. A missing event id or room sid is None; `detail` is JSON."""

    interview_id: uuid.UUID
    attempt: int
    name: str
    detail: str
    livekit_event_id: str | None
    recorded_at: datetime
    room_sid: str | None
    room_created_at: datetime
    room_ended_at: datetime | None
    participant: ParticipantEvent | None


# A duplicate is an event whose id is on the timeline already: nothing of it is stored. The interviews are locked, and
# LiveKit sends a room's events one by one, so timeline ids are in LiveKit's order.
# The first end of a room and the first leave of a sid stand. A joined corrects the room of a sid that a snapshot found:
# by then the snapshot's room may have been replaced.
# The first role of a sid stands too: an agent may change its attributes. The timeline shows the same one.
_RECORD = f"""
    WITH received AS (
        SELECT * FROM unnest(
            $1::uuid[], $2::bigint[], $3::text[], $4::jsonb[], $5::text[], $6::timestamptz[], $7::text[],
            $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::timestamptz[],
            $14::timestamptz[], $15::text[], $16::text[]
        ) AS event ({", ".join((*EventRecord._fields[:-1], *ParticipantEvent._fields))})
    ),
    event AS (
        SELECT received.*, coalesce((
            SELECT known.role FROM connections known
            WHERE known.interview_id = received.interview_id AND known.sid = received.sid
        ), role) AS first_role
        FROM received
    ),
    added AS (
        INSERT INTO timeline (interview_id, attempt, kind, name, detail, livekit_event_id)
        SELECT interview_id, attempt, 'livekit', name,
            CASE WHEN sid IS NULL THEN detail ELSE detail || jsonb_build_object('role', first_role) END,
            livekit_event_id
        FROM event
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
        SELECT interview_id, sid, attempt, coalesce(room_sid, ''), identity, first_role, joined_at, added.id,
            recorded_at
        FROM event JOIN added USING (interview_id)
        WHERE sid IS NOT NULL AND left_at IS NULL
        ON CONFLICT (interview_id, sid) DO UPDATE SET room_sid = excluded.room_sid
        WHERE connections.room_sid <> excluded.room_sid
    ),
    gone AS (
        INSERT INTO connections
            (interview_id, sid, attempt, room_sid, identity, role, joined_at, joined_order, recorded_at,
             left_at, left_order, leave_reason, outcome, left_recorded_at)
        SELECT interview_id, sid, attempt, coalesce(room_sid, ''), identity, first_role, joined_at, added.id,
            recorded_at, left_at, added.id, leave_reason, CASE WHEN first_role = '{Role.AGENT}' THEN outcome END,
            recorded_at
        FROM event JOIN added USING (interview_id)
        WHERE sid IS NOT NULL AND left_at IS NOT NULL
        ON CONFLICT (interview_id, sid) DO UPDATE SET left_at = excluded.left_at, left_order = excluded.left_order,
            leave_reason = excluded.leave_reason, outcome = excluded.outcome,
            left_recorded_at = excluded.left_recorded_at
        WHERE connections.left_at IS NULL
    )
    SELECT interview_id FROM added
"""  # noqa: S608 - built from constants alone
_NO_PARTICIPANT = (None,) * len(ParticipantEvent._fields)


async def record_events(connection: asyncpg.Connection, events: Sequence[EventRecord]) -> set[uuid.UUID]:
    """Store at most one event of each locked interview. Return the ids of interviews whose event is new."""
    rows = [(*event, *(participant or _NO_PARTICIPANT)) for *event, participant in events]
    return {row[0] for row in await connection.fetch(_RECORD, *zip(*rows, strict=True))}

"""Records a LiveKit webhook as facts about its interview, and settles it: all in the caller's transaction."""

import logging
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.interviews.erased import bare, identity_kept
from app.interviews.participants import OUTCOME, outcome_of, role_of
from app.interviews.settle import lock, settle
from app.lifecycle import CONNECTION_TIMEOUT, UNKNOWN, Role, Waits
from app.livekit import Event, Participant
from app.models import PROBE_ROOM, Connection, Interview, Probe, Room, TimelineEntry, parse_room_name

log = logging.getLogger(__name__)

RECORDED = {
    "room_started",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "room_finished",
}
WITHOUT_EVIDENCE = {"track_published", "track_unpublished"}  # several a conversation, and they move nothing

LONGEST_OUTCOME = 64  # characters of it that the timeline keeps: anybody may set attributes who may set metadata

WHOLE_SECOND = timedelta(seconds=1)  # LiveKit stamps a webhook with whole seconds, so a leave was at its end or before
NOTICED_AFTER = timedelta(seconds=20)  # LiveKit notices a connection that timed out only then


class Recorded(StrEnum):
    """What became of a webhook."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


async def record(session: AsyncSession, *, event: Event, now: datetime, waits: Waits) -> Recorded:
    """Store the event's evidence and settle its interview. The same event again changes nothing."""
    if event.name in WITHOUT_EVIDENCE:
        return Recorded.IGNORED
    if event.room_name.startswith(PROBE_ROOM):
        return await _tell_doctor(session, event, now)
    room = parse_room_name(event.room_name)
    if event.name not in RECORDED or room is None:
        # a name that is not ours to give may be anybody's
        log.info("webhook ignored: event %r, %s", event.name, event.room_name if room else "a room of somebody else")
        return Recorded.IGNORED
    interview = await lock(session, room.interview_id)
    if interview is None or room.attempt > interview.attempt:
        log.warning("webhook ignored: no interview has the room %r", event.room_name)
        return Recorded.IGNORED
    order = await _append(session, interview, room.attempt, event)
    if order is None:
        return Recorded.DUPLICATE
    await _record_room(session, interview, room.attempt, event, now)
    if event.participant:
        await _record_participant(session, interview, room.attempt, event, event.participant, order, now)
    await settle(session, interview=interview, now=now, waits=waits)
    return Recorded.RECORDED


async def _tell_doctor(session: AsyncSession, event: Event, now: datetime) -> Recorded:
    """Note that a webhook about a doctor's room has arrived. Only rooms that it waits for have a row."""
    waiting = (
        update(Probe)
        .where(Probe.room == event.room_name, Probe.arrived_at.is_(None))
        .values(arrived_at=now)
        .returning(Probe.room)
    )
    return Recorded.RECORDED if await session.scalar(waiting) else Recorded.IGNORED


async def _append(session: AsyncSession, interview: Interview, attempt: int, event: Event) -> int | None:
    """Write the event on the timeline; return its place there, or None if its id is there already.

    The interview is locked, and LiveKit sends a room's events one after the other: the places are in its queue's order.
    """
    added = (
        insert(TimelineEntry)
        .values(
            interview_id=interview.id,
            attempt=attempt,
            kind="livekit",
            name=event.name,
            detail=_detail(event, interview),
            livekit_event_id=event.id or None,
        )
        .on_conflict_do_nothing(index_elements=[TimelineEntry.livekit_event_id])
        .returning(TimelineEntry.id)
    )
    return await session.scalar(added)


def _detail(event: Event, interview: Interview) -> dict[str, Any]:
    roles = {}
    detail = {"createdAt": event.created_at.isoformat(), "roomSid": event.room_sid}
    if event.participant:
        who = event.participant
        detail |= {"identity": who.identity, "sid": who.sid, "kind": who.kind, "reason": who.disconnect_reason}
        detail |= {"outcome": who.attributes.get(OUTCOME, "")[:LONGEST_OUTCOME]}
        roles = {who.identity: role_of(who, interview)}
    said = {key: value for key, value in detail.items() if value}
    return bare(said, roles) if interview.personal_data_erased_at else said


async def _record_room(session: AsyncSession, interview: Interview, attempt: int, event: Event, now: datetime) -> None:
    if not event.room_sid:
        return
    ended_at = event.created_at + WHOLE_SECOND if event.name == "room_finished" else None
    seen = insert(Room).values(
        interview_id=interview.id,
        sid=event.room_sid,
        attempt=attempt,
        created_at=event.room_created_at or event.created_at,
        ended_at=ended_at,
        recorded_at=now,
    )
    await session.execute(
        seen.on_conflict_do_update(
            index_elements=[Room.interview_id, Room.sid],
            set_={"ended_at": func.coalesce(Room.ended_at, seen.excluded.ended_at)},
        )
    )


async def _record_participant(
    session: AsyncSession, interview: Interview, attempt: int, event: Event, who: Participant, order: int, now: datetime
) -> None:
    if event.name not in ("participant_joined", "participant_left") or not who.sid:
        return
    role = role_of(who, interview)
    if role is Role.OTHER:
        log.info("interview %s: %s of kind %s is neither candidate nor agent", interview.id, who.sid, who.kind)
    joined = {
        "interview_id": interview.id,
        "sid": who.sid,
        "attempt": attempt,
        "room_sid": event.room_sid,
        "identity": identity_kept(who, interview),
        "role": role,
        "joined_at": who.joined_at or event.created_at,
        "joined_order": order,
        "recorded_at": now,
    }
    if event.name == "participant_joined":
        known = insert(Connection).values(joined)
        # A sid that was found by asking may have been put into the room that was there a moment before.
        await session.execute(
            known.on_conflict_do_update(
                index_elements=[Connection.interview_id, Connection.sid],
                set_={"room_sid": known.excluded.room_sid},
                where=Connection.room_sid != known.excluded.room_sid,
            )
        )
        return
    left = insert(Connection).values(
        joined
        | {
            "left_at": _left_at(event, who),
            "left_order": order,
            "leave_reason": who.disconnect_reason or UNKNOWN,
            "outcome": outcome_of(who) if role is Role.AGENT else None,
        }
    )
    # The first left that is known of a sid stands: LiveKit sends one, so a second would be no better.
    await session.execute(
        left.on_conflict_do_update(
            index_elements=[Connection.interview_id, Connection.sid],
            set_={name: left.excluded[name] for name in ("left_at", "left_order", "leave_reason", "outcome")},
            where=Connection.left_at.is_(None),
        )
    )


def _left_at(event: Event, who: Participant) -> datetime:
    """Return the end of the second in which somebody left; one whose connection timed out was gone 20 s before."""
    noticed_at = event.created_at + WHOLE_SECOND
    return noticed_at - NOTICED_AFTER if who.disconnect_reason == CONNECTION_TIMEOUT else noticed_at

"""Records a LiveKit webhook as facts about its interview, and settles it: all in the caller's transaction."""

import logging
import re
import uuid
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.interviews.settle import lock, settle
from app.lifecycle import Outcome, Role, Waits
from app.livekit import Event, Participant
from app.models import Connection, Interview, Room, TimelineEntry

log = logging.getLogger(__name__)

ROOM_NAME = re.compile(
    r"interview-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:-([2-9]|[1-9]\d{1,8}))?"
)
RECORDED = {
    "room_started",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "room_finished",
}
WITHOUT_EVIDENCE = {"track_published", "track_unpublished"}  # several a conversation, and they move nothing

WHOLE_SECOND = timedelta(seconds=1)  # LiveKit stamps a webhook with whole seconds, so a leave was at its end or before
NOTICED_AFTER = timedelta(seconds=20)  # LiveKit notices a connection that timed out only then
OUTCOME = "interview.outcome"  # the attribute by which an agent announces how the conversation went
ON_BEHALF = "lk.publish_on_behalf"  # an avatar, say, that publishes for an agent and is none itself


class Recorded(StrEnum):
    """What became of a webhook."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


async def record(session: AsyncSession, *, event: Event, now: datetime, waits: Waits) -> Recorded:
    """Store the event's evidence and settle its interview. The same event again changes nothing."""
    if event.name in WITHOUT_EVIDENCE:
        return Recorded.IGNORED
    room = ROOM_NAME.fullmatch(event.room_name)
    if event.name not in RECORDED or room is None:
        log.info("webhook ignored: event %r, room %r", event.name, event.room_name)
        return Recorded.IGNORED
    interview = await lock(session, uuid.UUID(room[1]))
    if interview is None:
        log.warning("webhook ignored: no interview has the room %r", event.room_name)
        return Recorded.IGNORED
    attempt = int(room[2] or 1)
    order = await _append(session, interview, attempt, event, now)
    if order is None:
        return Recorded.DUPLICATE
    await _record_room(session, interview, attempt, event)
    if event.participant:
        await _record_participant(session, interview, attempt, event, event.participant, order)
    await settle(session, interview=interview, now=now, waits=waits)
    return Recorded.RECORDED


async def _append(session: AsyncSession, interview: Interview, attempt: int, event: Event, now: datetime) -> int | None:
    """Write the event on the timeline; return its place there, or None if its id is there already.

    The interview is locked, and LiveKit sends a room's events one after the other: the places are in its queue's order.
    """
    added = (
        insert(TimelineEntry)
        .values(
            interview_id=interview.id,
            attempt=attempt,
            at=now,
            kind="livekit",
            name=event.name,
            detail=_detail(event),
            livekit_event_id=event.id or None,
        )
        .on_conflict_do_nothing(index_elements=[TimelineEntry.livekit_event_id])
        .returning(TimelineEntry.id)
    )
    return await session.scalar(added)


def _detail(event: Event) -> dict[str, str]:
    detail = {"createdAt": event.created_at.isoformat(), "roomSid": event.room_sid}
    if event.participant:
        who = event.participant
        detail |= {"identity": who.identity, "sid": who.sid, "kind": who.kind, "reason": who.disconnect_reason}
        detail |= {"outcome": who.attributes.get(OUTCOME, "")}
    return {key: value for key, value in detail.items() if value}


async def _record_room(session: AsyncSession, interview: Interview, attempt: int, event: Event) -> None:
    if not event.room_sid:
        return
    ended_at = event.created_at + WHOLE_SECOND if event.name == "room_finished" else None
    seen = insert(Room).values(
        interview_id=interview.id,
        sid=event.room_sid,
        attempt=attempt,
        created_at=event.room_created_at or event.created_at,
        ended_at=ended_at,
    )
    await session.execute(
        seen.on_conflict_do_update(
            index_elements=[Room.interview_id, Room.sid],
            set_={"ended_at": func.coalesce(Room.ended_at, seen.excluded.ended_at)},
        )
    )


async def _record_participant(
    session: AsyncSession, interview: Interview, attempt: int, event: Event, who: Participant, order: int
) -> None:
    if event.name not in ("participant_joined", "participant_left") or not who.sid:
        return
    role = _role(who, interview)
    if role is Role.OTHER:
        log.info("interview %s: %s of kind %s is neither candidate nor agent", interview.id, who.sid, who.kind)
    joined = {
        "interview_id": interview.id,
        "sid": who.sid,
        "attempt": attempt,
        "room_sid": event.room_sid,
        "identity": who.identity,
        "role": role,
        "joined_at": who.joined_at or event.created_at,
        "joined_order": order,
    }
    if event.name == "participant_joined":
        await session.execute(insert(Connection).values(joined).on_conflict_do_nothing())
        return
    left = insert(Connection).values(
        joined
        | {
            "left_at": _left_at(event, who),
            "left_order": order,
            "leave_reason": who.disconnect_reason or "UNKNOWN_REASON",
            "outcome": _outcome(who) if role is Role.AGENT else None,
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


def _role(who: Participant, interview: Interview) -> Role:
    if who.kind == "AGENT" and not who.attributes.get(ON_BEHALF):
        return Role.AGENT
    if who.kind == "STANDARD" and not who.hidden and who.identity == interview.candidate_identity:
        return Role.CANDIDATE
    return Role.OTHER


def _left_at(event: Event, who: Participant) -> datetime:
    """Return the end of the second in which somebody left; one whose connection timed out was gone 20 s before."""
    noticed_at = event.created_at + WHOLE_SECOND
    return noticed_at - NOTICED_AFTER if who.disconnect_reason == "CONNECTION_TIMEOUT" else noticed_at


def _outcome(who: Participant) -> Outcome | None:
    """Return what the agent announced. What is no outcome that we know is at least not a completed conversation."""
    said = who.attributes.get(OUTCOME)
    if not said:
        return None
    if said not in set(Outcome):
        log.warning("agent %s announced the outcome %r: expected one of %s", who.sid, said, ", ".join(Outcome))
        return Outcome.PENDING
    return Outcome(said)

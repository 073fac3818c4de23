"""What LiveKit answered when asked who is in a room, recorded as facts: it finds what lost webhooks would have told."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.interviews.erasure import identity_kept
from app.interviews.interview_rows import InterviewRow
from app.interviews.participant_events import role_of
from app.livekit.client import LiveRoom, RoomSnapshot
from app.livekit.webhooks import Participant
from app.models import Connection, Room, TimelineEntry


async def record_room_snapshot(
    session: AsyncSession, *, interview: InterviewRow, room_snapshot: RoomSnapshot, now: datetime
) -> None:
    """Record who was in the room of the locked interview's current attempt. What it changed is on the timeline.

    A snapshot closes only what was known before it was taken; a later sighting takes that back.
    """
    connections = await _connections(session, interview)
    known = {connection.sid for connection in connections}
    listed = {who.sid for who in (*room_snapshot.participants, *room_snapshot.arriving)}
    joined = [who for who in room_snapshot.participants if who.sid not in known]
    back = [each for each in connections if each.sid in listed and _see(each, room_snapshot.asked_at)]
    unseen = [each for each in connections if each.left_at is None and each.sid not in listed]
    gone = [each for each in unseen if _miss(each, room_snapshot.asked_at)]
    room_changed = _compare_rooms(session, interview, await _rooms(session, interview), room_snapshot, now)
    interview.asked_at = max(room_snapshot.asked_at, interview.asked_at or room_snapshot.asked_at)
    if joined or back or gone or room_changed:
        order = await _append(session, interview, room_snapshot, joined=joined, gone=gone)
        if room_snapshot.room:
            session.add_all(_new_connection(interview, who, room_snapshot.room, order, now) for who in joined)
    await session.flush()


async def _append(
    session: AsyncSession,
    interview: InterviewRow,
    room_snapshot: RoomSnapshot,
    *,
    joined: Sequence[Participant],
    gone: Sequence[Connection],
) -> int:
    """Write on the timeline what the asking found; return its place there."""
    found = {
        "askedAt": room_snapshot.asked_at.isoformat(),
        "present": [identity_kept(who, interview) for who in room_snapshot.participants],
        "joined": [identity_kept(who, interview) for who in joined],
        "gone": [each.identity for each in gone],
        "roomSid": room_snapshot.room.sid if room_snapshot.room else None,
    }
    entry = TimelineEntry(
        interview_id=interview.id, attempt=interview.attempt, kind="livekit", name="asked", detail=found
    )
    session.add(entry)
    await session.flush()
    return entry.id


async def _rooms(session: AsyncSession, interview: InterviewRow) -> Sequence[Room]:
    found = await session.scalars(
        select(Room)
        .where(Room.interview_id == interview.id, Room.attempt == interview.attempt)
        .execution_options(populate_existing=True)
    )
    return found.all()


async def _connections(session: AsyncSession, interview: InterviewRow) -> Sequence[Connection]:
    found = await session.scalars(
        select(Connection)
        .where(Connection.interview_id == interview.id, Connection.attempt == interview.attempt)
        .execution_options(populate_existing=True)
    )
    return found.all()


def _see(row: Room | Connection, asked_at: datetime) -> bool:
    """Take back that it was missing, if that was found before; tell whether it was."""
    if isinstance(row, Connection):
        row.seen_at = max(asked_at, row.seen_at or asked_at)
    if row.missing_at is None or row.missing_at >= asked_at:
        return False
    row.missing_at = None
    return True


def _miss(row: Room | Connection, asked_at: datetime) -> bool:
    """Note that it is not there any more, unless that is known, or it came to be known only after the asking."""
    seen_at = row.seen_at if isinstance(row, Connection) else None
    if row.missing_at or row.recorded_at >= asked_at or (seen_at and seen_at >= asked_at):
        return False
    row.missing_at = asked_at
    return True


def _compare_rooms(
    session: AsyncSession, interview: InterviewRow, known: Sequence[Room], room_snapshot: RoomSnapshot, now: datetime
) -> bool:
    """Add the room that is there if it is new, note those that are not there; tell whether that is news."""
    there = room_snapshot.room
    news = [
        _see(room, room_snapshot.asked_at) if there and room.sid == there.sid else _miss(room, room_snapshot.asked_at)
        for room in known
        if room.ended_at is None
    ]
    if there and there.sid not in {room.sid for room in known}:
        session.add(_new_room(interview, there, now))
        return True
    return any(news)


def _new_room(interview: InterviewRow, there: LiveRoom, now: datetime) -> Room:
    return Room(
        interview_id=interview.id,
        sid=there.sid,
        attempt=interview.attempt,
        created_at=there.created_at,
        recorded_at=now,
    )


def _new_connection(
    interview: InterviewRow, who: Participant, there: LiveRoom, order: int, now: datetime
) -> Connection:
    return Connection(
        interview_id=interview.id,
        sid=who.sid,
        attempt=interview.attempt,
        room_sid=there.sid,
        identity=identity_kept(who, interview),
        role=role_of(who, interview),
        joined_at=who.joined_at or now,
        joined_order=order,
        recorded_at=now,
    )

"""Compares what is believed of live interviews with what LiveKit shows, and records the difference.

One ListRooms for all; ListParticipants for each room with somebody in it, or said to be: ListRooms leaves agents out
of its count, and is some 5 s behind. So 10,000 conversations cost 10,000 calls a period, AT_ONCE of them at a time.
"""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from app.core import metrics
from app.core.database import driver_connection, transaction
from app.interviews.interview_rows import lock_row
from app.interviews.room_snapshots import record_room_snapshot
from app.interviews.status_update import lock_interview, update_statuses
from app.lifecycle import Status
from app.livekit.client import LiveKitUnavailable, LiveRoom, RoomSnapshot
from app.livekit.rooms import RoomName, parse_room_name, room_name
from app.models import TimelineEntry
from app.worker.context import Context

log = logging.getLogger(__name__)

AT_ONCE = 8  # interviews

# A union, each part by its index: with OR all interviews are read.
LIVE_ROOM_STATES = text(
    """
    SELECT i.id, i.attempt, i.status,
        ARRAY(SELECT c.sid FROM connections c WHERE c.interview_id = i.id AND c.attempt = i.attempt
              AND c.left_at IS NULL AND c.missing_at IS NULL) AS connections,
        ARRAY(SELECT r.sid FROM rooms r WHERE r.interview_id = i.id AND r.attempt = i.attempt
              AND r.ended_at IS NULL AND r.missing_at IS NULL) AS rooms
    FROM interviews i
    WHERE i.id IN (
        SELECT id FROM interviews WHERE status IN ('WAITING_FOR_AGENT', 'IN_PROGRESS', 'RECONNECTING')
        UNION SELECT unnest(CAST(:listed AS uuid[]))
        UNION SELECT r.interview_id FROM rooms r WHERE r.ended_at IS NULL AND r.missing_at IS NULL
    )
    """
)


@dataclass(frozen=True, slots=True)
class StoredRoomState:
    """What the stored facts say of an interview's current room."""

    interview_id: uuid.UUID
    attempt: int
    status: Status
    connections: Sequence[str]
    rooms: Sequence[str]

    def is_certain(self, room: LiveRoom | None) -> bool:
        """Tell whether the room, as listed among all rooms, leaves no doubt that what is believed is true."""
        if room is None:
            return not self.connections and not self.rooms
        return list(self.rooms) == [room.sid] and not self.connections and room.participants == 0

    def is_confirmed_by(self, room_snapshot: RoomSnapshot) -> bool:
        """Tell whether LiveKit showed just what is believed, so that there is nothing to record."""
        there = {who.sid for who in room_snapshot.participants}
        return (
            room_snapshot.room is not None
            and list(self.rooms) == [room_snapshot.room.sid]
            and there == set(self.connections)
        )


async def reconcile(context: Context) -> None:
    """Ask LiveKit once, and settle every interview of which something else is believed. Raises LiveKitUnavailable."""
    asked_at = datetime.now(UTC)
    rooms = {room.name: room for room in await context.livekit.rooms()}
    believed = await _load_room_states(context, rooms)
    slots = asyncio.Semaphore(AT_ONCE)

    async def compare(each: StoredRoomState) -> None:
        async with slots:
            await _compare(context, each, rooms, asked_at)

    await asyncio.gather(*(compare(each) for each in believed))
    await _delete_rooms_of_frozen_attempts(context, believed, rooms)


async def _load_room_states(context: Context, rooms: dict[str, LiveRoom]) -> list[StoredRoomState]:
    listed = [name.interview_id for name in map(parse_room_name, rooms) if name]
    async with transaction(context.sessions) as session:
        rows = (await session.execute(LIVE_ROOM_STATES, {"listed": listed})).all()
    return [StoredRoomState(row.id, row.attempt, Status(row.status), row.connections, row.rooms) for row in rows]


async def _compare(context: Context, believed: StoredRoomState, rooms: dict[str, LiveRoom], asked_at: datetime) -> None:
    name = room_name(believed.interview_id, believed.attempt)
    room = rooms.get(name)
    if believed.is_certain(room):
        return
    try:
        room_snapshot = await context.livekit.room_snapshot_of(room) if room else RoomSnapshot(asked_at, None)
        if believed.is_confirmed_by(room_snapshot) and not believed.status.is_terminal:
            return
        async with transaction(context.sessions) as session:
            connection = await driver_connection(session)
            interview = await lock_row(connection, believed.interview_id)
            if interview is None or interview.attempt != believed.attempt:
                return
            now = datetime.now(UTC)
            await record_room_snapshot(session, interview=interview, room_snapshot=room_snapshot, now=now)
            await update_statuses(connection, [interview], now=now, timeouts=context.timeouts)
    except LiveKitUnavailable as error:
        log.warning("interview %s was not compared: %s", believed.interview_id, error)
    except Exception:
        log.exception("interview %s could not be compared", believed.interview_id)
        metrics.WORKER_ERRORS.inc()


async def _delete_rooms_of_frozen_attempts(
    context: Context, believed: Sequence[StoredRoomState], rooms: dict[str, LiveRoom]
) -> None:
    """Delete the rooms of earlier attempts: an agent forgot to leave, or somebody is back with an old token."""
    current = {each.interview_id: each.attempt for each in believed}
    for name in rooms:
        parsed = parse_room_name(name)
        if parsed and parsed.attempt < current.get(parsed.interview_id, 1):
            try:
                existed = await context.livekit.delete_room(name)
            except LiveKitUnavailable as error:
                log.warning("room %s of a frozen attempt is still there: %s", name, error)
                continue
            if existed:
                await _say_so(context, parsed)
                metrics.ROOMS_DELETED.labels(why="frozen").inc()


async def _say_so(context: Context, room: RoomName) -> None:
    """Tell on the timeline that the room of an earlier attempt was deleted."""
    async with transaction(context.sessions) as session:
        interview = await lock_interview(session, room.interview_id)
        if interview:
            deed = TimelineEntry.about(interview, kind="service", name="room_deleted", detail={"cameBack": True})
            deed.attempt = room.attempt
            session.add(deed)

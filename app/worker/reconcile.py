"""Compares the stored state of live interviews with what LiveKit shows, and records the difference.

One ListRooms for all; one ListParticipants for each room with somebody in it, by LiveKit or by what is stored:
ListRooms leaves agents out of its count, and is some 5 s behind. So 10,000 conversations cost 10,000 calls a period,
CONCURRENCY of them at a time.
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
from app.lifecycle import LIVE_STATUSES, Status
from app.livekit.client import LiveKitUnavailable, LiveRoom, RoomSnapshot
from app.livekit.rooms import RoomName, parse_room_name, room_name
from app.models import TimelineEntry
from app.worker import WorkerContext

log = logging.getLogger(__name__)

CONCURRENCY = 8  # interviews

# A union, each part by its index: with OR all interviews are read. The statuses are constants, as a parameter would not
# match the partial index.
LIVE_ROOM_STATES = text(f"""
    SELECT i.id, i.attempt, i.status,
        ARRAY(SELECT c.sid FROM connections c WHERE c.interview_id = i.id AND c.attempt = i.attempt
              AND c.left_at IS NULL AND c.missing_at IS NULL) AS connections,
        ARRAY(SELECT r.sid FROM rooms r WHERE r.interview_id = i.id AND r.attempt = i.attempt
              AND r.ended_at IS NULL AND r.missing_at IS NULL) AS rooms
    FROM interviews i
    WHERE i.id IN (
        SELECT id FROM interviews WHERE status IN ({", ".join(f"'{status}'" for status in LIVE_STATUSES)})
        UNION SELECT unnest(CAST(:listed AS uuid[]))
        UNION SELECT r.interview_id FROM rooms r WHERE r.ended_at IS NULL AND r.missing_at IS NULL
    )
    """)  # noqa: S608 - of constants alone


@dataclass(frozen=True, slots=True)
class StoredRoomState:
    """What is stored of an interview's current room: the open connections and rooms, by sid."""

    interview_id: uuid.UUID
    attempt: int
    status: Status
    connections: Sequence[str]
    rooms: Sequence[str]

    def matches_listing(self, room: LiveRoom | None) -> bool:
        """Return whether the list of rooms alone proves that the stored state is true."""
        if room is None:
            return not self.connections and not self.rooms
        return list(self.rooms) == [room.sid] and not self.connections and room.participants == 0

    def matches(self, room_snapshot: RoomSnapshot) -> bool:
        """Return whether LiveKit showed exactly the stored state, so that there is nothing to record."""
        room, connected = room_snapshot.room, {who.sid for who in room_snapshot.participants}
        return room is not None and list(self.rooms) == [room.sid] and connected == set(self.connections)


async def reconcile(context: WorkerContext) -> None:
    """Ask LiveKit once, and update every interview whose stored state differs. Raises LiveKitUnavailable."""
    asked_at = datetime.now(UTC)
    rooms = {room.name: room for room in await context.livekit.rooms()}
    listed = [name.interview_id for name in map(parse_room_name, rooms) if name]
    async with transaction(context.sessions) as session:
        rows = (await session.execute(LIVE_ROOM_STATES, {"listed": listed})).all()
    states = [StoredRoomState(row.id, row.attempt, Status(row.status), row.connections, row.rooms) for row in rows]
    slots = asyncio.Semaphore(CONCURRENCY)

    async def compare(state: StoredRoomState) -> None:
        async with slots:
            await _compare(context, state, rooms, asked_at)

    await asyncio.gather(*(compare(state) for state in states))
    await _delete_rooms_of_frozen_attempts(context, states, rooms)


async def _compare(
    context: WorkerContext, state: StoredRoomState, rooms: dict[str, LiveRoom], asked_at: datetime
) -> None:
    room = rooms.get(room_name(state.interview_id, state.attempt))
    if state.matches_listing(room):
        return
    try:
        room_snapshot = await context.livekit.room_snapshot_of(room) if room else RoomSnapshot(asked_at, None)
        if state.matches(room_snapshot) and not state.status.is_terminal:
            return
        async with transaction(context.sessions) as session:
            connection = await driver_connection(session)
            interview = await lock_row(connection, state.interview_id)
            if interview is None or interview.attempt != state.attempt:
                return
            now = datetime.now(UTC)
            await record_room_snapshot(
                session, interview=interview, room_snapshot=room_snapshot, agent_name=context.agent_name, now=now
            )
            await update_statuses(connection, [interview], now=now, timeouts=context.timeouts)
    except LiveKitUnavailable as error:
        log.warning("interview %s was not compared: %s", state.interview_id, error)
    except Exception:
        log.exception("interview %s could not be compared", state.interview_id)
        metrics.WORKER_ERRORS.inc()


async def _delete_rooms_of_frozen_attempts(
    context: WorkerContext, states: Sequence[StoredRoomState], rooms: dict[str, LiveRoom]
) -> None:
    """Delete the rooms of earlier attempts: an agent did not leave, or someone joined with an old token."""
    current = {state.interview_id: state.attempt for state in states}
    for name in rooms:
        parsed = parse_room_name(name)
        if parsed and parsed.attempt < current.get(parsed.interview_id, 1):
            try:
                existed = await context.livekit.delete_room(name)
            except LiveKitUnavailable as error:
                log.warning("room %s of a frozen attempt is still there: %s", name, error)
                continue
            if existed:
                await _record_deletion(context, parsed)
                metrics.ROOMS_DELETED.labels(why="frozen").inc()


async def _record_deletion(context: WorkerContext, room: RoomName) -> None:
    """Write to the timeline that the room of an earlier attempt was deleted."""
    async with transaction(context.sessions) as session:
        interview = await lock_interview(session, room.interview_id)
        if interview:
            entry = TimelineEntry.about(interview, kind="service", name="room_deleted", detail={"cameBack": True})
            entry.attempt = room.attempt
            session.add(entry)

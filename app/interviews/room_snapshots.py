"""Record what LiveKit showed of a room as facts: it makes up for lost webhooks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.interviews.erasure import identity_kept
from app.interviews.interview_rows import InterviewRow
from app.interviews.participant_events import role_of
from app.lifecycle import Role
from app.livekit.client import LiveRoom, RoomSnapshot
from app.livekit.webhooks import Participant
from app.models import Connection, Room, TimelineEntry

Fact = TypeVar("Fact", Room, Connection)


async def record_room_snapshot(
    session: AsyncSession, *, interview: InterviewRow, room_snapshot: RoomSnapshot, agent_name: str, now: datetime
) -> None:
    """Record who was in the room of the locked interview's current attempt, and on the timeline what that changed.

    A snapshot marks as missing only what was recorded before it was taken. A later snapshot may undo that. The status
    update that follows stores what is set on the interview.
    """
    connections = await _facts(session, Connection, interview)
    known = {connection.sid: connection.role for connection in connections}
    listed = {who.sid for who in (*room_snapshot.participants, *room_snapshot.arriving)}
    joined = [who for who in room_snapshot.participants if who.sid not in known]
    back = [each for each in connections if each.sid in listed and _mark_seen(each, room_snapshot.asked_at)]
    unlisted = [each for each in connections if each.left_at is None and each.sid not in listed]
    gone = [each for each in unlisted if _mark_missing(each, room_snapshot.asked_at)]
    room_changed = await _compare_rooms(session, interview, room_snapshot, now)
    interview.asked_at = max(room_snapshot.asked_at, interview.asked_at or room_snapshot.asked_at)
    if joined or back or gone or room_changed:
        present = {
            who.sid: _named(who, known.get(who.sid) or role_of(who, interview, agent_name=agent_name), interview)
            for who in room_snapshot.participants
        }
        lists = {
            "present": list(present.values()),
            "joined": [present[who.sid] for who in joined],
            "gone": [NamedParticipant(each.identity, each.role) for each in gone],
        }
        order = await _add_timeline_entry(session, interview, room_snapshot, lists)
        if room := room_snapshot.room:
            session.add_all(_new_connection(interview, who, present[who.sid], room, order, now) for who in joined)
    await session.flush()


class NamedParticipant(NamedTuple):
    """A participant of the snapshot, or one that it lacks. The identity may have been erased."""

    identity: str
    role: Role
    kind: str = ""
    hidden: bool = False

    @property
    def description(self) -> dict[str, object]:
        """What the timeline needs to name it, without personal data."""
        described = {"role": self.role, "kind": self.kind, "hidden": self.hidden}
        return {name: value for name, value in described.items() if value}


def _named(who: Participant, role: Role, interview: InterviewRow) -> NamedParticipant:
    return NamedParticipant(identity_kept(who.identity, role, interview), role, who.kind, who.hidden)


async def _add_timeline_entry(
    session: AsyncSession,
    interview: InterviewRow,
    room_snapshot: RoomSnapshot,
    lists: Mapping[str, Sequence[NamedParticipant]],
) -> int:
    """Add the snapshot to the timeline; return the entry's id. The lists: present, joined, gone."""
    detail = {
        "askedAt": room_snapshot.asked_at.isoformat(),
        **{name: [seen.identity for seen in people] for name, people in lists.items()},
        "seenAs": {name: [seen.description for seen in people] for name, people in lists.items()},
        "roomSid": room_snapshot.room.sid if room_snapshot.room else None,
    }
    entry = TimelineEntry(
        interview_id=interview.id, attempt=interview.attempt, kind="livekit", name="room_checked", detail=detail
    )
    session.add(entry)
    await session.flush()
    return entry.id


async def _facts(session: AsyncSession, model: type[Fact], interview: InterviewRow) -> Sequence[Fact]:
    query = select(model).where(model.interview_id == interview.id, model.attempt == interview.attempt)
    return (await session.scalars(query.execution_options(populate_existing=True))).all()


def _mark_seen(row: Room | Connection, asked_at: datetime) -> bool:
    """Undo that the row was marked as missing by an earlier snapshot. Return whether it was."""
    if isinstance(row, Connection):
        row.seen_at = max(asked_at, row.seen_at or asked_at)
    if row.missing_at is None or row.missing_at >= asked_at:
        return False
    row.missing_at = None
    return True


def _mark_missing(row: Room | Connection, asked_at: datetime) -> bool:
    """Mark the row as missing, unless it is already, or was recorded or seen since. Return whether it was marked."""
    seen_at = row.seen_at if isinstance(row, Connection) else None
    if row.missing_at or row.recorded_at >= asked_at or (seen_at and seen_at >= asked_at):
        return False
    row.missing_at = asked_at
    return True


async def _compare_rooms(
    session: AsyncSession, interview: InterviewRow, room_snapshot: RoomSnapshot, now: datetime
) -> bool:
    """Add the room if it is new, and mark the others as missing. Return whether anything changed."""
    known = await _facts(session, Room, interview)
    there, asked_at = room_snapshot.room, room_snapshot.asked_at
    changed = [
        _mark_seen(room, asked_at) if there and room.sid == there.sid else _mark_missing(room, asked_at)
        for room in known
        if room.ended_at is None
    ]
    if there and there.sid not in {room.sid for room in known}:
        room = Room(
            interview_id=interview.id,
            attempt=interview.attempt,
            sid=there.sid,
            created_at=there.created_at,
            recorded_at=now,
        )
        session.add(room)
        return True
    return any(changed)


def _new_connection(
    interview: InterviewRow, who: Participant, seen: NamedParticipant, there: LiveRoom, order: int, now: datetime
) -> Connection:
    return Connection(
        interview_id=interview.id,
        sid=who.sid,
        attempt=interview.attempt,
        room_sid=there.sid,
        identity=seen.identity,
        role=seen.role,
        joined_at=who.joined_at or now,
        joined_order=order,
        recorded_at=now,
    )

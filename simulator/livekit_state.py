"""LiveKit's present: which rooms there are and who is in them, as the histories have it and as the deployment made it.

What the deployment does (it deletes rooms, removes participants, dispatches agents) changes the histories from then on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from simulator.events import Event, Json, Place, events_of, participant_json, room_json
from simulator.history import Connection, History, Role, Room

LEAVING = 15  # milliseconds between one participant's leave and the next, and the room's end, when a room is deleted


@dataclass(slots=True)
class Played:
    """A history while it happens, and what the deployment did to it; instants in milliseconds since 1970."""

    history: History
    place: Place
    on_change: Callable[[], None] = lambda: None
    dispatches: list[int] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)

    def room(self, now: int) -> Room | None:
        """The living room, if there is one at `now`."""
        at = now - self.place.origin
        alive = [room for room in self.history.rooms if room.created <= at and (room.over is None or room.over > at)]
        return alive[-1] if alive else None

    def connections(self, now: int) -> list[Connection]:
        """Whom LiveKit believes to be connected: also those whose loss it has not noticed yet."""
        room, at = self.room(now), now - self.place.origin
        return [
            visit
            for visit in self.known(now).connections
            if room and visit.room_sid == room.sid and visit.media and visit.joined <= at and _unnoticed(visit, at)
        ]

    def known(self, now: int) -> History:
        """The history without the agents that nobody has sent for in time."""
        return replace(self.history, connections=tuple(v for v in self.history.connections if self._comes(v, now)))

    def _comes(self, visit: Connection, now: int) -> bool:
        joined = visit.joined + self.place.origin
        return not visit.dispatched or any(at <= joined for at in self.dispatches) or joined > now


def _unnoticed(visit: Connection, at: int) -> bool:
    return visit.noticed is None or visit.noticed > at


class World:
    """All rooms of a simulated LiveKit. `now` tells milliseconds since 1970."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.played: dict[str, Played] = {}

    def add(self, history: History, place: Place, on_change: Callable[[], None] = lambda: None) -> Played:
        """Let a history happen; `on_change` is called whenever the deployment has changed it."""
        self.played[place.room_name] = Played(history, place, on_change)
        return self.played[place.room_name]

    # What LiveKit says by itself

    def upcoming(self, room_name: str) -> list[Event]:
        """Every event of the room, past and to come, as things stand now."""
        played = self.played[room_name]
        return events_of(played.known(self.now()), played.place)

    # What it answers

    def rooms(self, names: Iterable[str] = ()) -> list[Json]:
        now, wanted = self.now(), set(names)
        chosen = [self.played[name] for name in wanted if name in self.played] if wanted else self.played.values()
        return [
            room_json(room, played.place) | {"numParticipants": len(played.connections(now))}
            for played in chosen
            if (room := played.room(now))
        ]

    def participants(self, room_name: str) -> list[Json]:
        """Who is in the room; an empty list, and no error, for a room that is not there."""
        played = self.played.get(room_name)
        if played is None:
            return []
        return [participant_json(visit, played.place, gone=False) for visit in played.connections(self.now())]

    # What it does when told

    def delete_room(self, room_name: str) -> bool:
        """False if there is no such room."""
        played, now = self.played.get(room_name), self.now()
        room = played.room(now) if played else None
        if played is None or room is None:
            return False
        played.history = without_room(played.history, room, now - played.place.origin)
        played.deletions.append(now)
        played.on_change()
        return True

    def remove_participant(self, room_name: str, identity: str) -> bool:
        """False if there is no such participant."""
        played, now = self.played.get(room_name), self.now()
        if played is None:
            return False
        removed = [visit for visit in played.connections(now) if (visit.identity or played.place.identity) == identity]
        for visit in removed:
            played.history = without_participant(played.history, visit, now - played.place.origin)
        played.on_change()
        return bool(removed)

    def dispatch(self, room_name: str) -> int | None:
        """The number of dispatches of that room so far, this one with them; None if there is no such room."""
        played = self.played.get(room_name)
        if played is None or played.room(self.now()) is None:
            return None
        played.dispatches.append(self.now())
        played.on_change()
        return len(played.dispatches)

    def dispatches(self, room_name: str) -> list[int]:
        played = self.played.get(room_name)
        return list(played.dispatches) if played else []

    def send(self, room_name: str, message: Json) -> bool:
        played = self.played.get(room_name)
        if played is None or played.room(self.now()) is None:
            return False
        played.messages.append(message)
        return True


def without_room(history: History, room: Room, at: int) -> History:
    """The room deleted at `at`: all in it are out at once, the candidate first, and nobody comes to it any more."""
    there = [visit for visit in history.connections if _in_room(visit, room, at)]
    there.sort(key=lambda visit: visit.role is not Role.CANDIDATE)
    out = {visit.sid: _put_out(visit, at, at + n * LEAVING, "ROOM_DELETED") for n, visit in enumerate(there, start=1)}
    stay = [
        out.get(visit.sid, visit) for visit in history.connections if visit.room_sid != room.sid or visit.joined <= at
    ]
    finished = replace(room, finished=at + (len(there) + 1) * LEAVING, killed=None)
    rooms = tuple(finished if other.sid == room.sid else other for other in history.rooms)
    return replace(history, connections=tuple(stay), rooms=rooms)


def without_participant(history: History, removed: Connection, at: int) -> History:
    out = _put_out(removed, at, at + LEAVING, "PARTICIPANT_REMOVED")
    stay = tuple(out if visit.sid == removed.sid else visit for visit in history.connections)
    return replace(history, connections=stay)


def _in_room(visit: Connection, room: Room, at: int) -> bool:
    return visit.room_sid == room.sid and visit.joined <= at and _unnoticed(visit, at)


def _put_out(visit: Connection, at: int, noticed: int, reason: str) -> Connection:
    left = at if visit.left is None else min(at, visit.left)
    return replace(visit, left=left, noticed=noticed, reason=reason)

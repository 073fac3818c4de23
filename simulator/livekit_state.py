"""The current state of the simulated LiveKit: its rooms and participants.

When the deployment deletes a room, removes a participant or dispatches an agent, the rest of the history changes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from simulator.events import Event, Json, Placement, events_of, participant_json, room_json
from simulator.history import Connection, History, Role, Room

LEAVE_INTERVAL = 15  # milliseconds between two participants' leaves, and the room's end, when a room is deleted


@dataclass(slots=True)
class SimulatedInterview:
    """A history in progress, and what the deployment did to it; instants are milliseconds since 1970."""

    history: History
    placement: Placement
    on_change: Callable[[], None] = lambda: None
    dispatches: list[int] = field(default_factory=list)
    messages: list[Json] = field(default_factory=list)
    deletions: list[int] = field(default_factory=list)

    def room(self, now: int) -> Room | None:
        """Return the room that exists at `now`, if any."""
        at = now - self.placement.origin
        rooms = [room for room in self.history.rooms if room.created <= at and (room.ended is None or room.ended > at)]
        return rooms[-1] if rooms else None

    def connections(self, now: int) -> list[Connection]:
        """Return the connections that LiveKit believes to be open, including lost ones not yet detected."""
        room, at = self.room(now), now - self.placement.origin
        return [
            connection
            for connection in self.dispatched_history(now).connections
            if room
            and connection.room_sid == room.sid
            and connection.media
            and connection.joined <= at
            and _undetected(connection, at)
        ]

    def dispatched_history(self, now: int) -> History:
        """Return the history without the agents that were not dispatched in time."""
        return replace(
            self.history, connections=tuple(each for each in self.history.connections if self._joins(each, now))
        )

    def _joins(self, connection: Connection, now: int) -> bool:
        joined = connection.joined + self.placement.origin
        return not connection.dispatched or any(at <= joined for at in self.dispatches) or joined > now


def _undetected(connection: Connection, at: int) -> bool:
    return connection.noticed is None or connection.noticed > at


class LiveKitState:
    """All rooms of a simulated LiveKit. `now` returns milliseconds since 1970."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.interviews: dict[str, SimulatedInterview] = {}

    def add(
        self, history: History, placement: Placement, on_change: Callable[[], None] = lambda: None
    ) -> SimulatedInterview:
        """Start a history. `on_change` is called when the deployment has changed it."""
        self.interviews[placement.room_name] = SimulatedInterview(history, placement, on_change)
        return self.interviews[placement.room_name]

    # Events

    def events(self, room_name: str) -> list[Event]:
        """Return all events of the room, past and future, unless the deployment changes the history again."""
        interview = self.interviews[room_name]
        return events_of(interview.dispatched_history(self.now()), interview.placement)

    # Queries

    def rooms(self, names: Iterable[str] = ()) -> list[Json]:
        now, wanted = self.now(), set(names)
        chosen = (
            [self.interviews[name] for name in wanted if name in self.interviews]
            if wanted
            else self.interviews.values()
        )
        return [
            room_json(room, interview.placement) | {"numParticipants": len(interview.connections(now))}
            for interview in chosen
            if (room := interview.room(now))
        ]

    def participants(self, room_name: str) -> list[Json]:
        """Return the participants of the room; an empty list if it does not exist, as LiveKit does."""
        interview = self.interviews.get(room_name)
        if interview is None:
            return []
        return [
            participant_json(connection, interview.placement, gone=False)
            for connection in interview.connections(self.now())
        ]

    # Commands

    def delete_room(self, room_name: str) -> bool:
        """Return False if the room does not exist."""
        interview, now = self.interviews.get(room_name), self.now()
        room = interview.room(now) if interview else None
        if interview is None or room is None:
            return False
        interview.history = without_room(interview.history, room, now - interview.placement.origin)
        interview.deletions.append(now)
        interview.on_change()
        return True

    def remove_participant(self, room_name: str, identity: str) -> bool:
        """Return False if the participant does not exist."""
        interview, now = self.interviews.get(room_name), self.now()
        if interview is None:
            return False
        removed = [
            connection
            for connection in interview.connections(now)
            if (connection.identity or interview.placement.identity) == identity
        ]
        for connection in removed:
            interview.history = without_participant(interview.history, connection, now - interview.placement.origin)
        interview.on_change()
        return bool(removed)

    def dispatch(self, room_name: str) -> int | None:
        """Return the number of dispatches of the room, with this one; None if the room does not exist."""
        interview = self.interviews.get(room_name)
        if interview is None or interview.room(self.now()) is None:
            return None
        interview.dispatches.append(self.now())
        interview.on_change()
        return len(interview.dispatches)

    def dispatches(self, room_name: str) -> list[int]:
        interview = self.interviews.get(room_name)
        return list(interview.dispatches) if interview else []

    def send_data(self, room_name: str, message: Json) -> bool:
        interview = self.interviews.get(room_name)
        if interview is None or interview.room(self.now()) is None:
            return False
        interview.messages.append(message)
        return True


def without_room(history: History, room: Room, at: int) -> History:
    """Return the history with the room deleted at `at`: all leave, the candidate first, and later joins are dropped."""
    present = [connection for connection in history.connections if _in_room(connection, room, at)]
    present.sort(key=lambda connection: connection.role is not Role.CANDIDATE)
    removed = {
        connection.sid: _removed(connection, at, at + n * LEAVE_INTERVAL, "ROOM_DELETED")
        for n, connection in enumerate(present, start=1)
    }
    connections = [
        removed.get(connection.sid, connection)
        for connection in history.connections
        if connection.room_sid != room.sid or connection.joined <= at
    ]
    finished = replace(room, finished=at + (len(present) + 1) * LEAVE_INTERVAL, killed=None)
    rooms = tuple(finished if other.sid == room.sid else other for other in history.rooms)
    return replace(history, connections=tuple(connections), rooms=rooms)


def without_participant(history: History, participant: Connection, at: int) -> History:
    removed = _removed(participant, at, at + LEAVE_INTERVAL, "PARTICIPANT_REMOVED")
    connections = tuple(removed if connection.sid == removed.sid else connection for connection in history.connections)
    return replace(history, connections=connections)


def _in_room(connection: Connection, room: Room, at: int) -> bool:
    return connection.room_sid == room.sid and connection.joined <= at and _undetected(connection, at)


def _removed(connection: Connection, at: int, noticed: int, reason: str) -> Connection:
    left = at if connection.left is None else min(at, connection.left)
    return replace(connection, left=left, noticed=noticed, reason=reason)

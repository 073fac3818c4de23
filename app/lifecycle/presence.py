"""Who was in the room, when: connections put in one order, as the moments at which somebody came or went."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.lifecycle.facts import DUPLICATE_IDENTITY, ROOM_CLOSED, UNKNOWN, Connection, Facts, Role, Room

# Where a coming or going stands: its second, its place in LiveKit's queue within it, and what comes first at one place.
Place = tuple[int, float, int]

INFERRED = math.inf  # an inferred leave comes after all that LiveKit's queue told about that second


@dataclass(frozen=True, slots=True)
class Departure:
    """How and when a connection ended, by a webhook or by inference."""

    at: datetime
    reason: str
    place: Place


@dataclass(frozen=True, slots=True)
class ParticipantSession:
    """A connection and its departure, if it is over."""

    connection: Connection
    departure: Departure | None

    @property
    def joined_at(self) -> datetime:
        return self.connection.joined_at

    @property
    def left_at(self) -> datetime | None:
        return self.departure.at if self.departure else None

    @property
    def reason(self) -> str | None:
        return self.departure.reason if self.departure else None

    @property
    def is_candidate(self) -> bool:
        return self.connection.role is Role.CANDIDATE

    @property
    def place(self) -> Place:
        return _join_place(self.connection)


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """Somebody came or went, and who of candidate and agents is there since."""

    at: datetime
    session: ParticipantSession
    came: bool
    candidates: tuple[ParticipantSession, ...]
    agents: tuple[ParticipantSession, ...]

    @property
    def both(self) -> bool:
        return bool(self.candidates and self.agents)


def presence_changes(facts: Facts) -> list[PresenceChange]:
    """Return every coming and going of candidate and agents, in order, with who is there after each."""
    steps = []
    for session in participant_sessions(facts):
        if session.connection.role is Role.OTHER:
            continue
        steps.append((session.place, session.joined_at, session, True))
        if session.departure:
            steps.append((session.departure.place, session.departure.at, session, False))
    steps.sort(key=lambda step: step[0])
    candidates: tuple[ParticipantSession, ...] = ()
    agents: tuple[ParticipantSession, ...] = ()
    found = []
    for _, at, session, came in steps:
        if session.is_candidate:
            candidates = _then(candidates, session, came)
        else:
            agents = _then(agents, session, came)
        found.append(PresenceChange(at, session, came, candidates, agents))
    return found


def _then(
    there: tuple[ParticipantSession, ...], session: ParticipantSession, came: bool
) -> tuple[ParticipantSession, ...]:
    return (*there, session) if came else tuple(other for other in there if other is not session)


def participant_sessions(facts: Facts) -> list[ParticipantSession]:
    """Return all connections with their departures: a webhook's where there is one, else the earliest inferred."""
    return [ParticipantSession(connection, _departure(connection, facts)) for connection in facts.connections]


def _departure(connection: Connection, facts: Facts) -> Departure | None:
    found = _told(connection) or _inferred(connection, facts)
    if found is None:
        return None
    # Nobody leaves before coming, whatever clocks and delivery say: a joined that comes after its left stays left.
    second, order, _ = _join_place(connection)
    return Departure(max(found.at, connection.joined_at), found.reason, max(found.place, (second, order, 1)))


def _join_place(connection: Connection) -> Place:
    return (_second(connection.joined_at), connection.joined_order, 0)


def _told(connection: Connection) -> Departure | None:
    """Return the departure that a webhook told; left_at is the end of the second that it belongs to."""
    if connection.left_at is None:
        return None
    place = (math.ceil(connection.left_at.timestamp()) - 1, float(connection.left_order or 0), 0)
    return Departure(connection.left_at, connection.leave_reason or UNKNOWN, place)


def _inferred(connection: Connection, facts: Facts) -> Departure | None:
    found = [
        *_superseded(connection, facts.connections),
        *_room_closed(connection, facts.connections),
        *_room_over(connection, facts.rooms),
        *_missing(connection, facts),
    ]
    return min(found, key=lambda departure: departure.at, default=None)


def _superseded(connection: Connection, others: Sequence[Connection]) -> list[Departure]:
    """A newer sid of the same identity has thrown this one out; it is there before this one is gone: no gap."""
    return [
        Departure(other.joined_at, DUPLICATE_IDENTITY, (_second(other.joined_at), other.joined_order, 1))
        for other in others
        if other.identity == connection.identity and _age(other) > _age(connection)
    ]


def _room_closed(connection: Connection, others: Sequence[Connection]) -> list[Departure]:
    """LiveKit closes a room under an agent only once the candidate has been gone for a while: it was not the agent."""
    if connection.role is not Role.CANDIDATE:
        return []
    closed = [
        told
        for other in others
        if other.role is Role.AGENT and other.room_sid == connection.room_sid and other.leave_reason == ROOM_CLOSED
        if (told := _told(other)) is not None
    ]
    return [Departure(told.at, UNKNOWN, (told.place[0], told.place[1], -1)) for told in closed]


def _age(connection: Connection) -> tuple[datetime, int]:
    return (connection.joined_at, connection.joined_order)


def _room_over(connection: Connection, rooms: Sequence[Room]) -> list[Departure]:
    """The room was finished, or lives anew under another sid: whoever was in it is not there any more."""
    own = next((room for room in rooms if room.sid == connection.room_sid), None)
    gone = _gone_at(own, connection) if own else None
    ended = [gone] if gone else []
    born = own.created_at if own else connection.joined_at
    newer = [room.created_at for room in rooms if room.sid != connection.room_sid and room.created_at > born]
    return [_lost(connection, at) for at in (*ended, *newer)]


def _gone_at(room: Room, connection: Connection) -> datetime | None:
    """Return when the room was gone; who came after it was missed proves that it was there."""
    proven = room.ended_at is None and room.missing_at is not None and connection.joined_at >= room.missing_at
    return None if proven else room.gone_at


def _missing(connection: Connection, facts: Facts) -> list[Departure]:
    """It was not there when LiveKit was asked, or this service has deleted the room since it came."""
    gone_at = facts.room_gone_at
    deleted = [gone_at] if gone_at and gone_at >= (connection.seen_at or connection.joined_at) else []
    missed = [connection.missing_at] if connection.missing_at else []
    return [_lost(connection, at) for at in (*missed, *deleted)]


def _lost(connection: Connection, at: datetime) -> Departure:
    """Of leaves inferred together the candidate's comes first: what took both was not the agent's doing."""
    rank = 2 if connection.role is Role.CANDIDATE else 3
    return Departure(at, UNKNOWN, (_second(at), INFERRED, rank))


def _second(at: datetime) -> int:
    return math.floor(at.timestamp())


def together(history: Sequence[PresenceChange], until: datetime | None) -> tuple[timedelta, datetime | None]:
    """Return how long candidate and agent were both there, and since when they are, if they still are.

    With `until` all that comes after it is left out, and nobody is there any more.
    """
    total = timedelta()
    since: datetime | None = None
    counted: datetime | None = None  # up to then: a leave counts from the end of its second, the next join does not
    for moment in history:
        at = moment.at if until is None else min(moment.at, until)
        if moment.both and since is None:
            since = max(filter(None, (at, _first_both(moment), counted)))
        elif not moment.both and since is not None:
            total += max(at - since, timedelta())
            since, counted = None, at
    if since is not None and until is not None:
        return total + max(until - since, timedelta()), None
    return total, since


def _first_both(moment: PresenceChange) -> datetime:
    """When the two sides of a moment first were there together: the later of the two first joins."""
    return max(
        min(session.joined_at for session in moment.candidates),
        min(session.joined_at for session in moment.agents),
    )


def start(history: Sequence[PresenceChange]) -> datetime | None:
    """Return the first instant at which candidate and agent were both connected (startedAt), or None."""
    return next((_first_both(moment) for moment in history if moment.both), None)

"""Who was in the room, when: connections as one ordered list of joins and leaves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.lifecycle.facts import DUPLICATE_IDENTITY, ROOM_CLOSED, UNKNOWN, Connection, Facts, Role, Room

# Orders joins and leaves: the whole second, the position in LiveKit's queue within it, the rank at one position.
SortKey = tuple[int, float, int]

INFERRED = math.inf  # an inferred leave comes after all of that second's webhooks


@dataclass(frozen=True, slots=True)
class Departure:
    """How and when a connection ended, by a webhook or by inference."""

    at: datetime
    reason: str
    sort_key: SortKey


@dataclass(frozen=True, slots=True)
class ParticipantSession:
    """A connection and its departure, if it is over."""

    connection: Connection
    departure: Departure | None

    @property
    def joined_at(self) -> datetime:
        return self.connection.joined_at

    @property
    def leave_reason(self) -> str | None:
        return self.departure.reason if self.departure else None

    @property
    def is_candidate(self) -> bool:
        return self.connection.role is Role.CANDIDATE


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A join or a leave, and the candidates and agents present after it."""

    at: datetime
    session: ParticipantSession
    is_join: bool
    candidates: tuple[ParticipantSession, ...]
    agents: tuple[ParticipantSession, ...]

    @property
    def both_connected(self) -> bool:
        return bool(self.candidates and self.agents)


def presence_changes(facts: Facts) -> list[PresenceChange]:
    """Return every join and leave of candidate and agents, in order."""
    steps: list[tuple[SortKey, datetime, ParticipantSession, bool]] = []
    for session in participant_sessions(facts):
        if session.connection.role is Role.OTHER:
            continue
        steps.append((_join_key(session.connection), session.joined_at, session, True))
        if session.departure:
            steps.append((session.departure.sort_key, session.departure.at, session, False))
    steps.sort(key=lambda step: step[0])
    present: list[ParticipantSession] = []
    changes = []
    for _, at, session, is_join in steps:
        present = [*present, session] if is_join else [other for other in present if other is not session]
        candidates = tuple(each for each in present if each.is_candidate)
        agents = tuple(each for each in present if not each.is_candidate)
        changes.append(PresenceChange(at, session, is_join, candidates, agents))
    return changes


def participant_sessions(facts: Facts) -> list[ParticipantSession]:
    """Return all connections with their departures: the webhook's if there is one, else the earliest inferred."""
    return [ParticipantSession(connection, _departure(connection, facts)) for connection in facts.connections]


def _departure(connection: Connection, facts: Facts) -> Departure | None:
    departure = _reported(connection) or _inferred(connection, facts)
    if departure is None:
        return None
    # A leave is never before its join, however clocks and delivery order differ: a join that arrives late stays left.
    second, order, _ = _join_key(connection)
    sort_key = max(departure.sort_key, (second, order, 1))
    return Departure(max(departure.at, connection.joined_at), departure.reason, sort_key)


def _join_key(connection: Connection) -> SortKey:
    return (_second(connection.joined_at), connection.joined_order, 0)


def _reported(connection: Connection) -> Departure | None:
    """Return the departure that a webhook reported; left_at is the end of the second that it belongs to."""
    if connection.left_at is None:
        return None
    sort_key = (math.ceil(connection.left_at.timestamp()) - 1, float(connection.left_order or 0), 0)
    return Departure(connection.left_at, connection.leave_reason or UNKNOWN, sort_key)


def _inferred(connection: Connection, facts: Facts) -> Departure | None:
    departures = [
        *_superseded(connection, facts.connections),
        *_room_closed(connection, facts.connections),
        *_room_over(connection, facts.rooms),
        *_missing(connection, facts),
    ]
    return min(departures, key=lambda departure: departure.at, default=None)


def _superseded(connection: Connection, others: Sequence[Connection]) -> list[Departure]:
    """A newer sid of the same identity replaces this one. It joins before this one leaves, so there is no gap."""
    return [
        Departure(other.joined_at, DUPLICATE_IDENTITY, (_second(other.joined_at), other.joined_order, 1))
        for other in others
        if other.identity == connection.identity
        and (other.joined_at, other.joined_order) > (connection.joined_at, connection.joined_order)
    ]


def _room_closed(connection: Connection, others: Sequence[Connection]) -> list[Departure]:
    """LiveKit closes a room under an agent only after the candidate has been gone for a while."""
    if connection.role is not Role.CANDIDATE:
        return []
    closed = [
        departure
        for other in others
        if other.role is Role.AGENT and other.room_sid == connection.room_sid and other.leave_reason == ROOM_CLOSED
        if (departure := _reported(other))
    ]
    return [Departure(each.at, UNKNOWN, (*each.sort_key[:2], -1)) for each in closed]


def _room_over(connection: Connection, rooms: Sequence[Room]) -> list[Departure]:
    """The room was finished, or a newer room took its name: its participants have left."""
    own = next((room for room in rooms if room.sid == connection.room_sid), None)
    created_at = own.created_at if own else connection.joined_at
    ends = [room.created_at for room in rooms if room.sid != connection.room_sid and room.created_at > created_at]
    # a join after missing_at proves that the room was there
    if own and own.gone_at and (own.ended_at or connection.joined_at < own.gone_at):
        ends.append(own.gone_at)
    return [_lost(connection, at) for at in ends]


def _missing(connection: Connection, facts: Facts) -> list[Departure]:
    """A snapshot lacked the connection, or this service has deleted the room since it was last seen."""
    gone_at = facts.room_gone_at
    deleted = [gone_at] if gone_at and gone_at >= (connection.seen_at or connection.joined_at) else []
    missing = [connection.missing_at] if connection.missing_at else []
    return [_lost(connection, at) for at in (*missing, *deleted)]


def _lost(connection: Connection, at: datetime) -> Departure:
    """Of leaves inferred together the candidate's comes first: what took both was not the agent's doing."""
    rank = 2 if connection.role is Role.CANDIDATE else 3
    return Departure(at, UNKNOWN, (_second(at), INFERRED, rank))


def _second(at: datetime) -> int:
    return math.floor(at.timestamp())


def measure_talk_time(
    history: Sequence[PresenceChange], *, until: datetime | None
) -> tuple[timedelta, datetime | None]:
    """Return how long candidate and agent were both connected, and since when they are, if they still are.

    With `until` the measurement stops there, and nobody is connected any more.
    """
    total = timedelta()
    since: datetime | None = None
    counted_until: datetime | None = None  # a leave counts from the end of its second, the next join may be within it
    for change in history:
        at = change.at if until is None else min(change.at, until)
        if change.both_connected and since is None:
            since = max(filter(None, (at, first_both_at(change), counted_until)))
        elif not change.both_connected and since is not None:
            total += max(at - since, timedelta())
            since, counted_until = None, at
    if since is not None and until is not None:
        return total + max(until - since, timedelta()), None
    return total, since


def first_both_at(change: PresenceChange) -> datetime:
    """Return when both sides of a change were first present: the later of the two first joins."""
    return max(min(session.joined_at for session in side) for side in (change.candidates, change.agents))

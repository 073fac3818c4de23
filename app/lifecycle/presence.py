"""Who was in the room, when: connections as one ordered list of joins and leaves.

All of it takes time in proportion to the number of connections: one token can make thousands of them.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import NamedTuple

from app.lifecycle.facts import DUPLICATE_IDENTITY, ROOM_CLOSED, UNKNOWN, Connection, Facts, Role

# Orders joins and leaves: the whole second, the position in LiveKit's queue within it, the rank at one position.
SortKey = tuple[int, float, int]

INFERRED = math.inf  # an inferred leave comes after all of that second's webhooks


class Departure(NamedTuple):
    """How and when a connection ended, by a webhook or by inference."""

    at: datetime
    reason: str
    sort_key: SortKey
    is_inferred: bool = True


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


class Present(NamedTuple):
    """The joins of the participants of one side that are present."""

    first_joined_at: datetime
    newest_joined_at: datetime


class PresenceChange(NamedTuple):
    """A join or a leave, and what is true after it. A side is None if nobody of it is present."""

    at: datetime
    session: ParticipantSession
    is_join: bool
    candidates: Present | None
    agents: Present | None
    agent_left_at: datetime | None  # the newest leave of an agent
    connected: timedelta  # that a candidate was connected, in all
    alone: timedelta  # that a candidate was connected without an agent, in all since the last agent left

    @property
    def both_connected(self) -> bool:
        return bool(self.candidates and self.agents)


class Step(NamedTuple):
    """A join or a leave, before it is known who is present."""

    sort_key: SortKey
    at: datetime
    session: ParticipantSession
    is_join: bool


def presence_changes(sessions: Sequence[ParticipantSession]) -> list[PresenceChange]:
    """Return every join and leave of candidate and agents, in order."""
    candidates, agents = _Side(), _Side()
    changes: list[PresenceChange] = []
    agent_left_at = before = None
    connected = alone = timedelta()
    for _, at, session, is_join in sorted(_steps(sessions), key=itemgetter(0)):
        if before and before.candidates:
            passed = at - before.at
            connected += passed
            alone = alone + passed if before.agents is None else timedelta()
        elif before and before.agents:
            alone = timedelta()
        if not is_join and not session.is_candidate:
            agent_left_at = max(at, agent_left_at or at)
        (candidates if session.is_candidate else agents).change(session.joined_at, is_join=is_join)
        before = PresenceChange(
            at, session, is_join, candidates.present, agents.present, agent_left_at, connected, alone
        )
        changes.append(before)
    return changes


def _steps(sessions: Sequence[ParticipantSession]) -> Iterator[Step]:
    for session in sessions:
        if session.connection.role is Role.OTHER:
            continue
        yield Step(_join_key(session.connection), session.joined_at, session, True)
        if session.departure:
            yield Step(session.departure.sort_key, session.departure.at, session, False)


class _Side:
    """Those present of one side. Most joins are the newest, most leaves the oldest, so the sorted list costs little."""

    def __init__(self) -> None:
        self.joins: list[datetime] = []
        self.present: Present | None = None

    def change(self, joined_at: datetime, *, is_join: bool) -> None:
        if is_join:
            insort(self.joins, joined_at)
        else:
            del self.joins[bisect_left(self.joins, joined_at)]
        self.present = Present(self.joins[0], self.joins[-1]) if self.joins else None


def participant_sessions(facts: Facts) -> list[ParticipantSession]:
    """Return all connections with their departures: the webhook's if there is one, else the earliest inferred."""
    closings = _Closings(facts)
    return [ParticipantSession(each, _departure(each, closings)) for each in facts.connections]


def _departure(connection: Connection, closings: "_Closings") -> Departure | None:
    departure = _reported(connection) or min(closings.of(connection), key=itemgetter(0), default=None)
    if departure is None:
        return None
    # A leave is never before its join, however clocks and delivery order differ: a join that arrives late stays left.
    second, order, _ = _join_key(connection)
    sort_key = max(departure.sort_key, (second, order, 1))
    return Departure(max(departure.at, connection.joined_at), departure.reason, sort_key, departure.is_inferred)


def _join_key(connection: Connection) -> SortKey:
    return (_second(connection.joined_at), connection.joined_order, 0)


def _reported(connection: Connection) -> Departure | None:
    """Return the departure that a webhook reported; left_at is the end of the second that it belongs to."""
    if connection.left_at is None:
        return None
    sort_key = (math.ceil(connection.left_at.timestamp()) - 1, float(connection.left_order or 0), 0)
    return Departure(connection.left_at, connection.leave_reason or UNKNOWN, sort_key, is_inferred=False)


class _Closings:
    """What closes a connection whose own leave is not known. Everything is looked up, nothing compared in pairs."""

    def __init__(self, facts: Facts) -> None:
        self.room_gone_at = facts.room_gone_at
        self.rooms = {room.sid: room for room in facts.rooms}
        self.created = sorted(room.created_at for room in facts.rooms)
        self.joins = _joins_by_identity(facts.connections)
        self.closed = _closed_rooms(facts.connections)

    def of(self, connection: Connection) -> Iterator[Departure]:
        yield from self._superseded(connection)
        if connection.role is Role.CANDIDATE and connection.room_sid in self.closed:
            yield self.closed[connection.room_sid]
        yield from (_lost(connection, at) for at in (*self._room_over(connection), *self._missing(connection)))

    def _superseded(self, connection: Connection) -> Iterator[Departure]:
        """A newer sid of the same identity replaces this one. It joins before this one leaves, so there is no gap."""
        joins = self.joins[connection.identity]
        newer = bisect_right(joins, (connection.joined_at, connection.joined_order))
        for joined_at, joined_order in joins[newer : newer + 1]:
            yield Departure(joined_at, DUPLICATE_IDENTITY, (_second(joined_at), joined_order, 1))

    def _room_over(self, connection: Connection) -> Iterator[datetime]:
        """The room was finished, or a newer room took its name: its participants have left."""
        own = self.rooms.get(connection.room_sid)
        created_at = own.created_at if own else connection.joined_at
        newer = bisect_right(self.created, created_at)
        yield from self.created[newer : newer + 1]
        # a join after missing_at proves that the room was there
        if own and own.gone_at and (own.ended_at or connection.joined_at < own.gone_at):
            yield own.gone_at

    def _missing(self, connection: Connection) -> Iterator[datetime]:
        """A snapshot lacked the connection, or this service has deleted the room since it was last seen."""
        if connection.missing_at:
            yield connection.missing_at
        if self.room_gone_at and self.room_gone_at >= (connection.seen_at or connection.joined_at):
            yield self.room_gone_at


def _joins_by_identity(connections: Sequence[Connection]) -> dict[str, list[tuple[datetime, int]]]:
    joins: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for connection in connections:
        joins[connection.identity].append((connection.joined_at, connection.joined_order))
    return {identity: sorted(found) for identity, found in joins.items()}


def _closed_rooms(connections: Sequence[Connection]) -> dict[str, Departure]:
    """By room: LiveKit closes a room under an agent only after the candidate has been gone for a while."""
    closed: dict[str, Departure] = {}
    for connection in connections:
        if connection.role is Role.AGENT and connection.leave_reason == ROOM_CLOSED:
            departure = _reported(connection)
            earlier = closed.get(connection.room_sid)
            if departure and (earlier is None or departure.at < earlier.at):
                sort_key = (*departure.sort_key[:2], -1)
                closed[connection.room_sid] = Departure(departure.at, UNKNOWN, sort_key)
    return closed


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
        both_at = first_both_at(change)
        if both_at and since is None:
            since = max(filter(None, (at, both_at, counted_until)))
        elif not both_at and since is not None:
            total += max(at - since, timedelta())
            since, counted_until = None, at
    if since is not None and until is not None:
        return total + max(until - since, timedelta()), None
    return total, since


def first_both_at(change: PresenceChange) -> datetime | None:
    """Return when both sides of a change were first present: the later of the two first joins. None if they are not."""
    if change.candidates and change.agents:
        return max(change.candidates.first_joined_at, change.agents.first_joined_at)
    return None

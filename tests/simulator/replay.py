"""From the simulation's histories to what the oracle wants to know, and to what a service would hear of them."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from app import lifecycle
from app.interviews.livekit_events import NOTICED_AFTER, WHOLE_SECOND
from app.livekit.webhooks import Participant, parse_event
from simulator.delivery import Delivery
from simulator.events import Event, Place
from simulator.history import Connection, History, Role
from simulator.livekit_state import World
from simulator.timing import Pace
from tests.reference_model import Report, Session, Timeouts, Truth

Step = tuple[int, Callable[[], None]]

RECONCILED = 30_000  # milliseconds between two times that LiveKit is asked without a deadline
ORIGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)


def at(millis: int, origin: datetime = ORIGIN) -> datetime:
    return origin + timedelta(milliseconds=millis)


def maybe_at(millis: int | None, origin: datetime = ORIGIN) -> datetime | None:
    return None if millis is None else at(millis, origin)


def waits_of(pace: Pace) -> Timeouts:
    return Timeouts(
        grace=timedelta(seconds=pace.grace),
        agent=timedelta(seconds=pace.agent),
        token=timedelta(seconds=pace.token),
        waited=timedelta(seconds=pace.waited),
    )


def truth_of(history: History, origin: datetime = ORIGIN) -> Truth:
    """The same history in the oracle's words; the moments at which LiveKit noticed something are no part of it."""
    counted = [visit for visit in history.connections if visit.media]
    return Truth(
        max_duration=timedelta(seconds=history.max_duration),
        closes_at=maybe_at(history.closes, origin),
        tokens=tuple(at(said, origin) for said in history.tokens),
        candidate=tuple(visit_of(visit, origin) for visit in counted if visit.role is Role.CANDIDATE),
        agents=tuple(visit_of(visit, origin) for visit in counted if visit.role is Role.AGENT),
        reports=tuple(Report(at(report.said, origin), report.outcome) for report in history.reports),
        deletions=tuple(at(said, origin) for said in history.deletions),
        cancelled=maybe_at(history.cancelled, origin),
    )


def visit_of(visit: Connection, origin: datetime) -> Session:
    return Session(at(visit.joined, origin), maybe_at(visit.left, origin), visit.reason or "UNKNOWN", visit.outcome)


class Hearer:
    """The service in small and without a database: hears LiveKit's events, asks now and then and at deadlines.

    It carries out no wishes: what it would delete or dispatch happens to nobody.
    """

    def __init__(self, history: History, place: Place, waits: lifecycle.Timeouts) -> None:
        self.place = place
        self.waits = waits
        self.now = place.origin
        self.world = World(lambda: self.now)
        self.world.add(history, place)
        self.facts = lifecycle.Facts(
            max_duration=timedelta(seconds=history.max_duration),
            closes_at=None if history.closes is None else moment(place.origin + history.closes),
        )
        self.connections: dict[str, lifecycle.Connection] = {}
        self.rooms: dict[str, lifecycle.Room] = {}
        self.heard: set[str] = set()

    def play(self, deliveries: Iterable[Delivery], until: int) -> Iterator[tuple[datetime, lifecycle.Derived]]:
        """Everything in its time, and every deadline at its own; yields each settling."""
        inputs = self._statements()
        inputs += [(delivery.at, partial(self.hear, delivery.event)) for delivery in deliveries]
        inputs += [(at, self.ask) for at in range(self.now, until, RECONCILED)]
        for at, take in sorted(inputs, key=lambda step: step[0]):
            if at > until:
                return
            yield from self._until(at)
            self.now = at
            take()
            yield self._settle()

    def _until(self, at: int) -> Iterator[tuple[datetime, lifecycle.Derived]]:
        """Settle at each deadline before that instant, having asked LiveKit."""
        while True:
            derived = self._derive()
            if derived.next_deadline_at is None:
                return
            due = millis_of(derived.next_deadline_at)
            if due >= at or (due <= self.now and not derived.undecided):
                return
            self.now = max(self.now, due)
            if self._derive().undecided:
                self._end_rooms()
            self.ask()
            yield self._settle()

    def _settle(self) -> tuple[datetime, lifecycle.Derived]:
        derived = self._derive()
        self.facts = replace(self.facts, decision=derived.decision)
        return moment(self.now), derived

    def _derive(self) -> lifecycle.Derived:
        facts = replace(self.facts, connections=tuple(self.connections.values()), rooms=tuple(self.rooms.values()))
        return lifecycle.derive(facts, moment(self.now), self.waits)

    def _statements(self) -> list[Step]:
        history, origin = self.world.played[self.place.room_name].history, self.place.origin
        found: list[Step] = [(origin + at, self._token) for at in history.tokens]
        found += [(origin + report.said, partial(self._report, report.outcome)) for report in history.reports]
        return found + ([] if history.cancelled is None else [(origin + history.cancelled, self._cancel)])

    def _token(self) -> None:
        if self.facts.decision is None:
            self.facts = replace(self.facts, last_token_at=moment(self.now))

    def _report(self, outcome: str) -> None:
        report = lifecycle.Report(moment(self.now), lifecycle.Outcome(outcome))
        self.facts = replace(self.facts, reports=(*self.facts.reports, report))

    def _cancel(self) -> None:
        self.facts = replace(self.facts, cancelled_at=moment(self.now))

    def hear(self, event: Event) -> None:
        """Take a webhook as its fields say; the same again changes nothing."""
        if event.id in self.heard:
            return
        self.heard.add(event.id)
        told = parse_event(event.raw)
        room = lifecycle.Room(told.room_sid, told.room_created_at or told.created_at)
        room = self.rooms.setdefault(room.sid, room)
        if told.name == "room_finished":
            self.rooms[room.sid] = replace(room, ended_at=told.created_at + WHOLE_SECOND)
        if told.participant and told.name in ("participant_joined", "participant_left"):
            self._connect(told.participant, told.room_sid)
            if told.name == "participant_left":
                self._disconnect(told.participant, told.created_at + WHOLE_SECOND)

    def _connect(self, who: Participant, room_sid: str) -> None:
        order = len(self.heard)
        role = self._role(who)
        joined_at = who.joined_at or moment(self.now)
        joined = lifecycle.Connection(who.sid, room_sid, who.identity, role, joined_at, order)
        self.connections.setdefault(who.sid, joined)

    def _role(self, who: Participant) -> lifecycle.Role:
        if who.kind == "AGENT":
            on_behalf = "lk.publish_on_behalf" in who.attributes
            return lifecycle.Role.OTHER if on_behalf else lifecycle.Role.AGENT
        is_candidate = who.identity == self.place.identity and not who.hidden
        return lifecycle.Role.CANDIDATE if is_candidate else lifecycle.Role.OTHER

    def _disconnect(self, who: Participant, noticed: datetime) -> None:
        announced = who.attributes.get("interview.outcome")
        self.connections[who.sid] = replace(
            self.connections[who.sid],
            left_at=noticed - NOTICED_AFTER if who.disconnect_reason == "CONNECTION_TIMEOUT" else noticed,
            left_order=len(self.heard),
            leave_reason=who.disconnect_reason,
            outcome=lifecycle.Outcome(announced) if announced else None,
        )

    def ask(self) -> None:
        """Ask LiveKit who is there: infer who has left, and who has come unheard of."""
        now = moment(self.now)
        rooms, there = self.world.rooms([self.place.room_name]), self.world.participants(self.place.room_name)
        seen = {who["sid"] for who in there}
        for who in there:
            told = parse_event(json.dumps({"room": rooms[0], "participant": who}).encode())
            if told.participant:
                self._connect(told.participant, told.room_sid)
        for sid, connection in self.connections.items():
            missing = None if sid in seen else connection.missing_at or now
            self.connections[sid] = replace(connection, missing_at=missing)
        self.facts = replace(self.facts, asked_at=now)

    def _end_rooms(self) -> None:
        """Infer that a room is gone, at a deadline only.

        Earlier, what its agent had announced may still be on its way: a deletion that asking has shown would be judged
        as if nothing had been announced. (room_finished comes after the leaves, in LiveKit's order.)
        """
        alive = {room["sid"] for room in self.world.rooms([self.place.room_name])}
        for sid, room in self.rooms.items():
            gone = None if sid in alive else moment(self.now)
            self.rooms[sid] = replace(room, ended_at=room.ended_at or gone)


def millis_of(instant: datetime) -> int:
    """Milliseconds since 1970, rounded up: at that one the instant has come."""
    return math.ceil(instant.timestamp() * 1000)


def moment(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)

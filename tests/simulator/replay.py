"""Converts simulated histories for the oracle, and replays their events to the lifecycle."""

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
from simulator.events import Event, Placement
from simulator.history import Connection, History, Role
from simulator.livekit_state import LiveKitState
from simulator.timing import Timing
from tests.reference_model import Report, Session, Timeouts, Truth

Step = tuple[int, Callable[[], None]]

RECONCILE_EVERY = 30_000  # milliseconds between two polls without a deadline
ORIGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)


def at(millis: int, origin: datetime = ORIGIN) -> datetime:
    return origin + timedelta(milliseconds=millis)


def maybe_at(millis: int | None, origin: datetime = ORIGIN) -> datetime | None:
    return None if millis is None else at(millis, origin)


def timeouts_of(timing: Timing) -> Timeouts:
    return Timeouts(
        candidate_grace=timedelta(seconds=timing.candidate_grace),
        agent_wait=timedelta(seconds=timing.agent_wait),
        token_wait=timedelta(seconds=timing.token_wait),
        candidate_waited=timedelta(seconds=timing.candidate_waited),
    )


def truth_of(history: History, origin: datetime = ORIGIN) -> Truth:
    """Return the history as the oracle reads it, without the instants at which LiveKit noticed something."""
    counted = [visit for visit in history.connections if visit.media]
    return Truth(
        max_duration=timedelta(seconds=history.max_duration),
        closes_at=maybe_at(history.closes, origin),
        tokens=tuple(at(issued, origin) for issued in history.tokens),
        candidate=tuple(visit_of(visit, origin) for visit in counted if visit.role is Role.CANDIDATE),
        agents=tuple(visit_of(visit, origin) for visit in counted if visit.role is Role.AGENT),
        reports=tuple(Report(at(report.at, origin), report.outcome) for report in history.reports),
        deletions=tuple(at(deleted, origin) for deleted in history.deletions),
        cancelled=maybe_at(history.cancelled, origin),
    )


def visit_of(visit: Connection, origin: datetime) -> Session:
    return Session(at(visit.joined, origin), maybe_at(visit.left, origin), visit.reason or "UNKNOWN", visit.outcome)


class Replay:
    """The service without a database: it receives LiveKit's events, and polls its API regularly and at deadlines.

    It has no effects: it deletes no room and dispatches no agent.
    """

    def __init__(self, history: History, place: Placement, waits: lifecycle.Timeouts) -> None:
        self.place = place
        self.waits = waits
        self.now = place.origin
        self.state = LiveKitState(lambda: self.now)
        self.state.add(history, place)
        self.facts = lifecycle.Facts(
            max_duration=timedelta(seconds=history.max_duration),
            closes_at=None if history.closes is None else moment(place.origin + history.closes),
        )
        self.connections: dict[str, lifecycle.Connection] = {}
        self.rooms: dict[str, lifecycle.Room] = {}
        self.received: set[str] = set()

    def play(self, deliveries: Iterable[Delivery], until: int) -> Iterator[tuple[datetime, lifecycle.Derived]]:
        """Apply everything at its instant, also the deadlines; yield each derived status."""
        inputs = self._api_calls()
        inputs += [(delivery.at, partial(self.receive, delivery.event)) for delivery in deliveries]
        inputs += [(at, self.poll) for at in range(self.now, until, RECONCILE_EVERY)]
        for at, take in sorted(inputs, key=lambda step: step[0]):
            if at > until:
                return
            yield from self._until(at)
            self.now = at
            take()
            yield self._derive_now()

    def _until(self, at: int) -> Iterator[tuple[datetime, lifecycle.Derived]]:
        """Poll LiveKit and derive at each deadline before that instant."""
        while True:
            derived = self._derive()
            if derived.next_deadline_at is None:
                return
            due = millis_of(derived.next_deadline_at)
            if due >= at or (due <= self.now and not derived.undecided):
                return
            self.now = due if due > self.now else self.now + 1  # what a snapshot showed is confirmed by a later one
            if self._derive().undecided:
                self._end_rooms()
            self.poll()
            yield self._derive_now()

    def _derive_now(self) -> tuple[datetime, lifecycle.Derived]:
        derived = self._derive()
        self.facts = replace(self.facts, decision=derived.decision)
        return moment(self.now), derived

    def _derive(self) -> lifecycle.Derived:
        facts = replace(self.facts, connections=tuple(self.connections.values()), rooms=tuple(self.rooms.values()))
        return lifecycle.derive(facts, moment(self.now), self.waits)

    def _api_calls(self) -> list[Step]:
        history, origin = self.state.interviews[self.place.room_name].history, self.place.origin
        found: list[Step] = [(origin + at, self._token) for at in history.tokens]
        found += [(origin + report.at, partial(self._report, report.outcome)) for report in history.reports]
        return found + ([] if history.cancelled is None else [(origin + history.cancelled, self._cancel)])

    def _token(self) -> None:
        if self.facts.decision is None:
            now = moment(self.now)
            self.facts = replace(self.facts, first_token_at=self.facts.first_token_at or now, last_token_at=now)

    def _report(self, outcome: str) -> None:
        report = lifecycle.Report(moment(self.now), lifecycle.Outcome(outcome))
        self.facts = replace(self.facts, reports=(*self.facts.reports, report))

    def _cancel(self) -> None:
        self.facts = replace(self.facts, cancelled_at=moment(self.now))

    def receive(self, event: Event) -> None:
        """Apply a webhook event; a repeated one changes nothing."""
        if event.id in self.received:
            return
        self.received.add(event.id)
        parsed = parse_event(event.raw)
        room = lifecycle.Room(parsed.room_sid, parsed.room_created_at or parsed.created_at)
        room = self.rooms.setdefault(room.sid, room)
        if parsed.name == "room_finished":
            self.rooms[room.sid] = replace(room, ended_at=parsed.created_at + WHOLE_SECOND)
        if parsed.participant and parsed.name in ("participant_joined", "participant_left"):
            self._connect(parsed.participant, parsed.room_sid)
            if parsed.name == "participant_left":
                self._disconnect(parsed.participant, parsed.created_at + WHOLE_SECOND)

    def _connect(self, who: Participant, room_sid: str) -> None:
        order = len(self.received)
        role = self._role(who)
        joined_at = who.joined_at or moment(self.now)
        joined = lifecycle.Connection(who.sid, room_sid, who.identity, role, joined_at, order)
        self.connections.setdefault(who.sid, joined)

    def _role(self, who: Participant) -> lifecycle.Role:
        if who.hidden:
            return lifecycle.Role.OTHER
        if who.kind == "AGENT":
            on_behalf = "lk.publish_on_behalf" in who.attributes
            return lifecycle.Role.OTHER if on_behalf else lifecycle.Role.AGENT
        is_candidate = who.identity == self.place.identity
        return lifecycle.Role.CANDIDATE if is_candidate else lifecycle.Role.OTHER

    def _disconnect(self, who: Participant, noticed: datetime) -> None:
        announced = who.attributes.get("interview.outcome")
        self.connections[who.sid] = replace(
            self.connections[who.sid],
            left_at=noticed - NOTICED_AFTER if who.disconnect_reason == "CONNECTION_TIMEOUT" else noticed,
            left_order=len(self.received),
            leave_reason=who.disconnect_reason,
            outcome=lifecycle.Outcome(announced) if announced else None,
        )

    def poll(self) -> None:
        """Poll LiveKit for participants: infer who has left, and who has joined without an event."""
        now = moment(self.now)
        rooms, there = self.state.rooms([self.place.room_name]), self.state.participants(self.place.room_name)
        seen = {who["sid"] for who in there}
        for who in there:
            parsed = parse_event(json.dumps({"room": rooms[0], "participant": who}).encode())
            if parsed.participant:
                self._connect(parsed.participant, parsed.room_sid)
        for sid, connection in self.connections.items():
            missing = None if sid in seen else connection.missing_at or now
            self.connections[sid] = replace(connection, missing_at=missing)
        self.facts = replace(self.facts, checked_at=now)

    def _end_rooms(self) -> None:
        """Infer that a room is gone, only at a deadline.

        Before it, the event with the agent's outcome may still be on its way; a deletion found by polling would be
        judged as if the agent had announced nothing. (LiveKit sends room_finished after the leaves.)
        """
        alive = {room["sid"] for room in self.state.rooms([self.place.room_name])}
        for sid, room in self.rooms.items():
            gone = None if sid in alive else moment(self.now)
            self.rooms[sid] = replace(room, ended_at=room.ended_at or gone)


def millis_of(instant: datetime) -> int:
    """Milliseconds since 1970, rounded up, so that the instant has been reached."""
    return math.ceil(instant.timestamp() * 1000)


def moment(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)

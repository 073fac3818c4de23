"""A true history as LiveKit tells it: webhook events in protojson, dated, ordered and signed as LiveKit's are.

int64 as strings, enums by name, zero values left out; `createdAt` in whole seconds, `id` the same at every retry.
Seen on livekit-server 1.13.4 (docs/livekit.md).
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt

from simulator.history import SECOND, Connection, History, Role, Room

OUTCOME = "interview.outcome"
PUBLISHED_AFTER = 150  # milliseconds from a candidate's join to its microphone's track_published
VALID_FOR = 300  # seconds

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when a history happens: what the deployment chose, and the beginning in milliseconds since 1970."""

    room_name: str
    identity: str
    origin: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook as LiveKit puts it into the room's queue, `at` milliseconds since 1970."""

    at: int
    id: str
    name: str
    room_name: str
    body: Json
    visit: Connection | None = field(default=None, compare=False)  # whose event it is, as the truth has it

    @property
    def raw(self) -> bytes:
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


def events_of(history: History, place: Place) -> list[Event]:
    """All that LiveKit says of this history, in the order of the room's queue."""
    told = list(_told(history, place))
    return sorted(told, key=lambda event: event.at)


def _told(history: History, place: Place) -> Iterator[Event]:
    """What comes first here comes first in the queue, of events at one millisecond."""
    rooms = {room.sid: room for room in history.rooms}
    for room in history.rooms:
        yield _event("room_started", room.created, room, place)
    for visit in history.connections:
        yield from _told_of(visit, rooms[visit.room_sid], place)
    for room in history.rooms:
        if room.finished is not None and room.killed is None:
            yield _event("room_finished", room.finished, room, place)


def _told_of(visit: Connection, room: Room, place: Place) -> Iterator[Event]:
    if not visit.media:
        if visit.noticed is not None:
            yield _event("participant_connection_aborted", visit.noticed, room, place, visit)
        return
    yield _event("participant_joined", visit.joined, room, place, visit)
    published = visit.joined + PUBLISHED_AFTER
    if visit.role is Role.CANDIDATE and (visit.left is None or visit.left > published):
        yield _event("track_published", published, room, place, visit)
    if visit.noticed is not None:
        yield _event("participant_left", visit.noticed, room, place, visit)


def _event(name: str, at: int, room: Room, place: Place, visit: Connection | None = None) -> Event:
    at += place.origin
    event_id = f"EV_{_digest(name, room.sid, visit.sid if visit else '')}"
    body: Json = {"event": name, "room": room_json(room, place), "id": event_id, "createdAt": str(at // SECOND)}
    if visit and name.startswith("track_"):
        body["participant"] = {"sid": visit.sid, "identity": visit.identity or place.identity}
        body["track"] = {"sid": f"TR_{_digest(name, visit.sid)}", "source": "MICROPHONE", "mimeType": "audio/opus"}
    elif visit:
        body["participant"] = participant_json(visit, place, gone=name != "participant_joined")
    return Event(at, event_id, name, place.room_name, body, visit)


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def room_json(room: Room, place: Place) -> Json:
    created = place.origin + room.created
    return {
        "sid": room.sid,
        "name": place.room_name,
        "emptyTimeout": 300,
        "departureTimeout": 20,
        "creationTime": str(created // SECOND),
        "creationTimeMs": str(created),
        "turnPassword": _digest("turn", room.sid),
        "enabledCodecs": [{"mime": "audio/opus"}, {"mime": "video/VP8"}],
    }


def participant_json(visit: Connection, place: Place, *, gone: bool) -> Json:
    """A participant as it is when it has joined, is asked for, or (`gone`) has left."""
    joined = place.origin + visit.joined
    is_candidate = visit.role is Role.CANDIDATE
    found: Json = {
        "sid": visit.sid,
        "identity": visit.identity or place.identity,
        "state": "DISCONNECTED" if gone else "ACTIVE",
        "metadata": place.metadata if is_candidate else "",
        "joinedAt": str(joined // SECOND),
        "joinedAtMs": str(joined),
        "name": "Candidate" if is_candidate else "",
        "version": 2,
        "permission": PERMISSIONS[visit.role],
        "isPublisher": visit.role is not Role.WATCHER,
        "kind": "AGENT" if visit.role in (Role.AGENT, Role.AVATAR) else "",
        "attributes": _attributes(visit, gone=gone),
        "disconnectReason": visit.reason if gone else "",
    }
    return {key: value for key, value in found.items() if value}


PERMISSIONS: dict[Role, Json] = {
    Role.CANDIDATE: {"canSubscribe": True, "canPublish": True, "canPublishData": True},
    Role.AGENT: {"canSubscribe": True, "canPublish": True, "canPublishData": True, "canUpdateMetadata": True},
    Role.AVATAR: {"canSubscribe": True, "canPublish": True, "canPublishData": True, "canUpdateMetadata": True},
    Role.WATCHER: {"canSubscribe": True, "hidden": True},
}


def _attributes(visit: Connection, *, gone: bool) -> dict[str, str]:
    """An agent that announces anything says `pending` when it starts, and its verdict just before it leaves."""
    if visit.role is Role.AVATAR:
        return {"lk.publish_on_behalf": "agent"}
    if visit.role is not Role.AGENT:
        return {}
    said = visit.outcome if gone else visit.outcome and "pending"
    return {"lk.agent.state": "listening"} | ({OUTCOME: said} if said else {})


def sign(raw: bytes, *, key: str, secret: str, now: float) -> str:
    """The Authorization header of a webhook: a bare JWT over the body's digest. `now` in seconds since 1970."""
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
    claims = {"iss": key, "nbf": int(now), "exp": int(now) + VALID_FOR, "sha256": digest}
    return jwt.encode(claims, secret, algorithm="HS256")

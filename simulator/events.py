"""The webhook events that LiveKit sends for a history: protojson, dated, ordered and signed as LiveKit does.

int64 are strings, enums are names, zero values are omitted. `createdAt` is in whole seconds, and a retry has the same
`id`. Observed on livekit-server 1.13.4 (docs/livekit.md).
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
PUBLISHED_AFTER = 150  # milliseconds between participant_joined and track_published of a candidate
VALID_FOR = 300  # seconds

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Placement:
    """What the deployment chose for a history, and its start, `origin`, in milliseconds since 1970."""

    room_name: str
    identity: str
    origin: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook event as LiveKit adds it to the room's queue, `at` milliseconds since 1970."""

    at: int
    id: str
    name: str
    room_name: str
    body: Json
    connection: Connection | None = field(default=None, compare=False)  # the participant's, if any

    @property
    def raw(self) -> bytes:
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


def events_of(history: History, placement: Placement) -> list[Event]:
    """Return all events of a history, in the order of the room's queue."""
    return sorted(_events(history, placement), key=lambda event: event.at)


def _events(history: History, placement: Placement) -> Iterator[Event]:
    """Yield the events. Those of the same millisecond are in the order of the queue."""
    rooms = {room.sid: room for room in history.rooms}
    for room in history.rooms:
        yield _event("room_started", room.created, room, placement)
    for connection in history.connections:
        yield from _connection_events(connection, rooms[connection.room_sid], placement)
    for room in history.rooms:
        if room.finished is not None and room.killed is None:
            yield _event("room_finished", room.finished, room, placement)


def _connection_events(connection: Connection, room: Room, placement: Placement) -> Iterator[Event]:
    if not connection.media:
        if connection.noticed is not None:
            yield _event("participant_connection_aborted", connection.noticed, room, placement, connection)
        return
    yield _event("participant_joined", connection.joined, room, placement, connection)
    published = connection.joined + PUBLISHED_AFTER
    if connection.role is Role.CANDIDATE and (connection.left is None or connection.left > published):
        yield _event("track_published", published, room, placement, connection)
    if connection.noticed is not None:
        yield _event("participant_left", connection.noticed, room, placement, connection)


def _event(name: str, at: int, room: Room, placement: Placement, connection: Connection | None = None) -> Event:
    at += placement.origin
    event_id = f"EV_{_digest(name, room.sid, connection.sid if connection else '')}"
    body: Json = {"event": name, "room": room_json(room, placement), "id": event_id, "createdAt": str(at // SECOND)}
    if connection and name.startswith("track_"):
        body["participant"] = {"sid": connection.sid, "identity": connection.identity or placement.identity}
        body["track"] = {"sid": f"TR_{_digest(name, connection.sid)}", "source": "MICROPHONE", "mimeType": "audio/opus"}
    elif connection:
        body["participant"] = participant_json(connection, placement, gone=name != "participant_joined")
    return Event(at, event_id, name, placement.room_name, body, connection)


def _digest(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def room_json(room: Room, placement: Placement) -> Json:
    created = placement.origin + room.created
    return {
        "sid": room.sid,
        "name": placement.room_name,
        "emptyTimeout": 300,
        "departureTimeout": 20,
        "creationTime": str(created // SECOND),
        "creationTimeMs": str(created),
        "turnPassword": _digest("turn", room.sid),
        "enabledCodecs": [{"mime": "audio/opus"}, {"mime": "video/VP8"}],
    }


def participant_json(connection: Connection, placement: Placement, *, gone: bool) -> Json:
    """Return a participant as in an event or a response of the API; `gone` when it has left."""
    joined = placement.origin + connection.joined
    is_candidate = connection.role is Role.CANDIDATE
    fields: Json = {
        "sid": connection.sid,
        "identity": connection.identity or placement.identity,
        "state": "DISCONNECTED" if gone else "ACTIVE",
        "metadata": placement.metadata if is_candidate else "",
        "joinedAt": str(joined // SECOND),
        "joinedAtMs": str(joined),
        "name": "Candidate" if is_candidate else "",
        "version": 2,
        "permission": PERMISSIONS[connection.role],
        "isPublisher": connection.role not in (Role.RECRUITER, Role.LISTENER),
        "kind": "AGENT" if connection.role in (Role.AGENT, Role.AVATAR, Role.LISTENER) else "",
        "attributes": _attributes(connection, gone=gone),
        "disconnectReason": connection.reason if gone else "",
    }
    return {key: value for key, value in fields.items() if value}


PERMISSIONS: dict[Role, Json] = {
    Role.CANDIDATE: {"canSubscribe": True, "canPublish": True, "canPublishData": True},
    Role.AGENT: {"canSubscribe": True, "canPublish": True, "canPublishData": True, "canUpdateMetadata": True},
    Role.AVATAR: {"canSubscribe": True, "canPublish": True, "canPublishData": True, "canUpdateMetadata": True},
    Role.RECRUITER: {"canSubscribe": True, "hidden": True},
    Role.LISTENER: {"canSubscribe": True, "canPublishData": True, "hidden": True, "canUpdateMetadata": True},
}


def _attributes(connection: Connection, *, gone: bool) -> dict[str, str]:
    """An agent that announces an outcome has `pending` from the start, and the outcome just before it leaves."""
    if connection.role is Role.AVATAR:
        return {"lk.publish_on_behalf": "agent"}
    if connection.role is Role.LISTENER:
        return {"lk.agent_name": "listener"}
    if connection.role is not Role.AGENT:
        return {}
    outcome = connection.outcome if gone else connection.outcome and "pending"
    return {"lk.agent.state": "listening"} | ({OUTCOME: outcome} if outcome else {})


def sign(raw: bytes, *, key: str, secret: str, now: float) -> str:
    """Return the Authorization header of a webhook, a JWT without "Bearer". `now` is in seconds since 1970."""
    digest = base64.b64encode(hashlib.sha256(raw).digest()).decode()
    claims = {"iss": key, "nbf": int(now), "exp": int(now) + VALID_FOR, "sha256": digest}
    return jwt.encode(claims, secret, algorithm="HS256")

"""Webhooks as LiveKit sends them: protojson bodies, signed with LiveKit's own library."""

import base64
import datetime
import hashlib
import itertools
import json
import uuid
from typing import Any

from livekit.api import AccessToken
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews.livekit_events import WebhookResult, event_batcher, record_webhook
from app.lifecycle import Timeouts
from app.livekit.webhooks import parse_event
from tests.conftest import LIVEKIT_KEY, LIVEKIT_SECRET

_numbers = itertools.count(1)


def sign(body: bytes, key: str = LIVEKIT_KEY, secret: str = LIVEKIT_SECRET, minutes: float = 5) -> str:
    """Return the Authorization header: a JWT with the body's digest, without a scheme."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = AccessToken(key, secret).with_sha256(digest).with_ttl(datetime.timedelta(minutes=minutes))
    return token.to_jwt()


def headers(body: bytes) -> dict[str, str]:
    return {"Authorization": sign(body), "Content-Type": "application/webhook+json"}


def event(
    name: str,
    *,
    room: str,
    at: datetime.datetime,
    room_sid: str = "RM_1",
    room_created_at: datetime.datetime | None = None,
    participant: dict[str, Any] | None = None,
    event_id: str | None = None,
) -> dict[str, Any]:
    """Return an event's body: int64 as strings, zero values omitted, createdAt in whole seconds."""
    created = room_created_at or at
    body = {
        "event": name,
        "id": event_id or f"EV_{uuid.uuid4().hex[:8]}{next(_numbers)}",
        "createdAt": str(int(at.timestamp())),
        "room": {
            "sid": room_sid,
            "name": room,
            "creationTime": str(int(created.timestamp())),
            "creationTimeMs": str(int(created.timestamp() * 1000)),
            "turnPassword": "not-to-be-stored",
        },
    }
    return body | ({"participant": participant} if participant else {})


def participant(
    sid: str,
    identity: str,
    *,
    joined_at: datetime.datetime,
    kind: str = "STANDARD",
    reason: str = "",
    attributes: dict[str, str] | None = None,
    hidden: bool = False,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "sid": sid,
        "identity": identity,
        "state": "DISCONNECTED" if reason else "ACTIVE",
        "joinedAt": str(int(joined_at.timestamp())),
        "joinedAtMs": str(int(joined_at.timestamp() * 1000)),
        "name": "Candidate",
        "metadata": '{"phoneNumber": "966501112233"}',
        "permission": {"canSubscribe": True, "canPublish": True} | ({"hidden": True} if hidden else {}),
    }
    body |= {"kind": kind} if kind != "STANDARD" else {}
    body |= {"disconnectReason": reason} if reason else {}
    return body | ({"attributes": attributes} if attributes else {})


async def deliver(
    sessions: async_sessionmaker[AsyncSession],
    event: dict[str, Any],
    *,
    at: datetime.datetime,
    timeouts: Timeouts,
    agent_name: str = "",
) -> WebhookResult:
    """Record the event as the service does when it arrives alone at `at`."""
    batcher = event_batcher(sessions, timeouts=timeouts, agent_name=agent_name)
    return await record_webhook(sessions, batcher, event=parse_event(encode(event)), now=at)


def encode(event: Any) -> bytes:
    return json.dumps(event).encode()

"""LiveKit's webhooks: verification and parsing. docs/livekit.md has the facts about them."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from app.core.errors import WebhookInvalid, WebhookNotSigned
from app.livekit.access_tokens import base64url

MAX_TIMESTAMP = 4_102_444_800  # seconds; the year 2100: a later timestamp is not LiveKit's
MAX_TEXT = 500  # characters; LiveKit's own limits are lower, and Postgres can't index much longer texts

_LEEWAY = 60  # seconds, as LiveKit's own verifiers have it
_GRANTS = ("video", "sip", "inference", "observability", "agent", "agentEndpoint", "agentThread")
_UNSUPPORTED = {"crit", "b64"}  # header fields that change the meaning of a signature


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant. `kind` is LiveKit's name: STANDARD, AGENT, ..."""

    sid: str
    identity: str
    kind: str
    hidden: bool
    joined_at: datetime | None
    attributes: Mapping[str, str]
    disconnect_reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook's event: participant_joined, room_finished, ... `created_at` is a whole second.

    An event about a recording or a media stream has a room name, but no room sid.
    """

    id: str
    name: str
    created_at: datetime
    room_name: str
    room_sid: str
    room_created_at: datetime | None
    participant: Participant | None


def verify_webhook(body: bytes, authorization: str | None, keys: Mapping[str, str]) -> None:
    """Raise WebhookNotSigned unless `authorization` is a JWT (without Bearer) that signs this body with a known key.

    At least as strict as livekit-api's TokenVerifier, as tests show, in an eighth of the time.
    """
    try:
        signed, _, signature = (authorization or "").encode("ascii").rpartition(b".")
        head, claims = map(_json_part, signed.split(b"."))  # raises on more or fewer parts
    except ValueError as error:
        raise WebhookNotSigned from error
    issuer = claims.get("iss")
    secret = keys.get(issuer) if isinstance(issuer, str) else None
    if secret is None or head.get("alg") != "HS256" or not _UNSUPPORTED.isdisjoint(head):
        raise WebhookNotSigned
    if not hmac.compare_digest(base64url(hmac.digest(secret.encode(), signed, "sha256")), signature):
        raise WebhookNotSigned
    checksum = claims.get("sha256")
    digest = base64.b64encode(hashlib.sha256(body).digest())
    if not isinstance(checksum, str) or not hmac.compare_digest(checksum.encode(errors="replace"), digest):
        raise WebhookNotSigned
    if not _are_valid(claims, time.time()):
        raise WebhookNotSigned


def _json_part(encoded: bytes) -> dict[str, Any]:
    """Return the JSON object in a part of a JWT. Raises ValueError."""
    decoded = orjson.loads(base64.b64decode(encoded + b"=" * (-len(encoded) % 4), b"-_", validate=True))
    if not isinstance(decoded, dict):
        raise ValueError("not a JSON object")
    return decoded


def _are_valid(claims: dict[str, Any], now: float) -> bool:
    """Return whether the claims have the right types and hold at `now` (Unix time)."""
    return (
        all(_timestamp(claims.get(name, now)) <= now + _LEEWAY for name in ("iat", "nbf"))
        and now - _LEEWAY < _timestamp(claims.get("exp"))
        and all(isinstance(claims.get(name, ""), str) for name in ("sub", "jti"))
        and all(isinstance(claims.get(name, {}), dict) for name in _GRANTS)
        and not claims.get("aud")  # the token is for another service
        and not claims.get("roomConfig")  # the token is a participant's
    )


def _timestamp(claim: object) -> float:
    """Return the whole seconds of a timestamp; for anything else NaN, which fails every comparison."""
    return int(claim) if isinstance(claim, int | float) and not isinstance(claim, bool) else float("nan")


def parse_event(body: bytes) -> Event:
    """Return the event of a verified body (protojson: int64 as strings, enums as names, zero values left out).

    Raises WebhookInvalid if the body is not a JSON object. Not parsed by protobuf, which turns an unknown kind or
    reason into the first of its enum: a new kind of bot would become STANDARD.
    """
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise WebhookInvalid from error
    if not isinstance(event, dict):
        raise WebhookInvalid
    room, egress, ingress = (_object(event, name) for name in ("room", "egressInfo", "ingressInfo"))
    participant = _object(event, "participant")
    return Event(
        id=_text(event, "id"),
        name=_text(event, "event"),
        created_at=_instant(event, "createdAt") or datetime.now(UTC),
        room_name=_text(room, "name") or _text(egress, "roomName") or _text(ingress, "roomName"),
        room_sid=_text(room, "sid"),
        room_created_at=_instant(room, "creationTime"),
        participant=_participant(participant) if participant else None,
    )


def _participant(fields: dict[str, Any]) -> Participant:
    attributes = _object(fields, "attributes")
    return Participant(
        sid=_text(fields, "sid"),
        identity=_text(fields, "identity"),
        kind=_text(fields, "kind") or "STANDARD",
        hidden=_object(fields, "permission").get("hidden") is True,
        joined_at=_instant(fields, "joinedAt"),
        attributes={key: _text(attributes, key) for key in attributes},
        disconnect_reason=_text(fields, "disconnectReason"),
    )


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _text(parent: dict[str, Any], key: str) -> str:
    value = parent.get(key)
    return value.replace("\0", "")[:MAX_TEXT] if isinstance(value, str) else ""  # Postgres can't store NUL


def _instant(parent: dict[str, Any], key: str) -> datetime | None:
    """Return the instant of `{key}Ms` in milliseconds or, where that is missing, of `key` in seconds."""
    for name, unit in ((f"{key}Ms", 1000), (key, 1)):
        value = str(parent.get(name, ""))
        if value.isascii() and value.isdigit() and len(value) <= 16 and 0 < int(value) < MAX_TIMESTAMP * unit:
            return datetime.fromtimestamp(int(value) / unit, UTC)
    return None

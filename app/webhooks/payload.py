"""The message of a delivery: the same id and bytes for every attempt, signed by Standard Webhooks 1.0.0."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

import orjson

from app.core.timestamps import rfc3339
from app.models import Change, ChangeType, Delivery

TEST = "webhook.test"
PREFIX = "whsec_"
PATHS: dict[str, str] = {
    ChangeType.RESULT_AVAILABLE: "/interviews/{id}",
    ChangeType.TRANSCRIPT_AVAILABLE: "/interviews/{id}/transcript?attempt={attempt}",
}
"""Where to read what an event says is available."""
LENGTH = 32  # bytes; the specification allows 24 to 64


def payload_of(change: Change) -> dict[str, object]:
    """Return the event that streams and webhooks send for a change: a thin payload, as Standard Webhooks recommends.

    It holds no names, phone numbers, results or transcripts: receivers with the right to see them fetch those. The path
    says where.
    """
    data = {
        "interviewId": str(change.interview_id),
        "status": change.status,
        "previousStatus": change.previous_status,
        "endReason": change.end_reason,
        "attempt": change.attempt,
        "sequence": change.sequence,
    }
    if path := PATHS.get(change.type):
        data["path"] = path.format(id=change.interview_id, attempt=change.attempt)
    return {"type": change.type, "timestamp": rfc3339(change.at), "data": data}


def message_id(delivery: Delivery, change: Change | None) -> str:
    """Return the webhook-id, by which receivers deduplicate: the same in retries, replays and at every endpoint."""
    return f"msg_{change.interview_id.hex}_{change.sequence}" if change else f"msg_{delivery.id.hex}"


def body_of(delivery: Delivery, change: Change | None) -> bytes:
    """Return the message as JSON."""
    if change:
        return orjson.dumps(payload_of(change))
    data = {"endpointId": str(delivery.endpoint_id)}
    return orjson.dumps({"type": TEST, "timestamp": rfc3339(delivery.created_at), "data": data})


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(LENGTH)).decode()


def signatures(keys: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header webhook-signature, with one signature for each secret. `timestamp` is in Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)

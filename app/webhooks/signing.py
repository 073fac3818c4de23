"""Signatures by the Standard Webhooks specification 1.0.0: HMAC-SHA256 with the endpoint's secret."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
LENGTH = 32  # bytes; the specification allows 24 to 64


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(LENGTH)).decode()


def signatures(keys: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header webhook-signature, with one signature for each secret. `timestamp` is in Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(base64.b64decode(key.removeprefix(PREFIX)), signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)

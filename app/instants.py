"""Instants as text."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=16)  # all who join within a second are told the same instant
def rfc3339(value: datetime) -> str:
    """Return the instant as all our answers and webhooks write it: UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Instants as text."""

from datetime import UTC, datetime


def rfc3339(value: datetime) -> str:
    """Return the instant as all our answers and webhooks write it: UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

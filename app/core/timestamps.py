"""Timestamps as text."""

from datetime import UTC, datetime


def rfc3339(value: datetime) -> str:
    """Return the instant in the format of all responses and webhooks: UTC, with milliseconds."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

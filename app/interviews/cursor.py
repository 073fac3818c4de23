"""Cursors of lists: where the next page begins. Opaque to callers, as their form may change."""

import base64
from datetime import UTC, datetime, timedelta

from app.errors import CursorInvalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_cursor(at: datetime, *parts: str | int) -> str:
    """Return the cursor of a row: its instant, to the microsecond, and what orders rows of one instant."""
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(".".join(map(str, (micros, *parts))).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, parts: int) -> tuple[datetime, list[str]]:
    """Return what encode_cursor was given. Raises CursorInvalid."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        micros, *rest = raw.split(".")
        at = EPOCH + timedelta(microseconds=int(micros))
    except (ValueError, OverflowError) as error:
        raise CursorInvalid from error
    if len(rest) != parts:
        raise CursorInvalid
    return at, rest

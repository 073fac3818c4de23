"""Cursors of lists: where the next page starts. Opaque to callers, as their format may change."""

import base64
import uuid
from datetime import UTC, datetime, timedelta

from app.core.errors import CursorInvalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_cursor(at: datetime, *parts: str | int) -> str:
    """Return the cursor of a row: its instant, to the microsecond, and the parts that order rows of one instant."""
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(".".join(map(str, (micros, *parts))).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, parts: int) -> tuple[datetime, list[str]]:
    """Return the instant and the parts that encode_cursor was called with. Raises CursorInvalid."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        micros, *rest = raw.split(".")
        at = EPOCH + timedelta(microseconds=int(micros))
    except (ValueError, OverflowError) as error:
        raise CursorInvalid from error
    if len(rest) != parts:
        raise CursorInvalid
    return at, rest


def decode_row(cursor: str, *, parts: int = 0) -> tuple[datetime, uuid.UUID, list[str]]:
    """Return a row's instant, its id, and the parts after the id. Raises CursorInvalid."""
    at, (id_, *rest) = decode_cursor(cursor, parts=1 + parts)
    try:
        return at, uuid.UUID(hex=id_), rest
    except ValueError as error:
        raise CursorInvalid from error

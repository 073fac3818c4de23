"""Pages of lists, and the cursors at which the next page starts: opaque to callers, as their format may change."""

import base64
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.errors import CursorInvalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Item = TypeVar("Item")
Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])
Column = ColumnElement[Any] | InstrumentedAttribute[Any]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None

    @classmethod
    def of(cls, rows: Sequence[Item], limit: int, cursor_of: Callable[[Item], str]) -> "Page[Item]":
        """Return the first `limit` rows, and a cursor if there are more."""
        return cls(rows[:limit], cursor_of(rows[limit - 1]) if len(rows) > limit else None)


def newest_first(query: Query, created_at: Column, id_: Column, *, cursor: str | None, limit: int) -> Query:
    """Select the rows of a page and one more, for Page.of(). Raises CursorInvalid."""
    if cursor:
        at, key, _ = decode_row(cursor)
        query = query.where(tuple_(created_at, id_) < tuple_(at, key))
    return query.order_by(created_at.desc(), id_.desc()).limit(limit + 1)


def encode_text(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_text(cursor: str) -> str:
    """Return the text that encode_text was called with. Raises CursorInvalid."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError as error:
        raise CursorInvalid from error
    if not text.isprintable():  # Postgres takes no NUL
        raise CursorInvalid
    return text


def encode_cursor(at: datetime, *parts: str | int) -> str:
    """Return the cursor of a row: its instant, to the microsecond, and the parts that order rows of one instant."""
    micros = (at - EPOCH) // timedelta(microseconds=1)
    return encode_text(".".join(map(str, (micros, *parts))))


def decode_cursor(cursor: str, *, parts: int) -> tuple[datetime, list[str]]:
    """Return the instant and the parts that encode_cursor was called with. Raises CursorInvalid."""
    micros, *rest = decode_text(cursor).split(".")
    try:
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

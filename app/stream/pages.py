"""Reads pages of the feed, as they go over the wire."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.database import transaction
from app.models import Change
from app.stream.feed import Position, is_held_back, read_feed
from app.webhooks.payload import payload_of

PAGE = 500  # changes
AT_ONCE = 3  # readings: a thousand listeners that come back at once leave connections to the requests


@dataclass(frozen=True)
class Batch:
    """Changes in their order, each encoded once for all listeners."""

    events: Sequence[tuple[Position, bytes]]

    @cached_property
    def data(self) -> bytes:
        return b"".join(event for _, event in self.events)

    @property
    def end(self) -> Position:
        return self.events[-1][0]

    def after(self, position: Position) -> bytes:
        """Return what a listener that is at the position has not had."""
        if self.events[0][0] > position:
            return self.data
        return b"".join(event for at, event in self.events if at > position)


@dataclass(frozen=True, slots=True)
class Page:
    """What was read. batch: None where there was nothing; is_held_back: more comes without another notification."""

    batch: Batch | None
    is_full: bool
    is_held_back: bool


class PageReader:
    """Reads, a few pages at a time, each in a session of its own that is given back at once."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], *, page: int = PAGE) -> None:
        self._sessions = sessions
        self._page = page
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def read(self, organization_id: uuid.UUID, after: Position, *, look_ahead: bool = False) -> Page:
        """Return the organization's next changes, is_held_back only with look_ahead. Raises DatabaseUnavailable."""
        async with self._slots, transaction(self._sessions) as session:
            # asked before: what is let go between the two questions is read at once
            held_back = look_ahead and await is_held_back(session, organization_id=organization_id)
            changes = await read_feed(session, organization_id=organization_id, after=after, limit=self._page)
        batch = Batch([(Position.of(each), encode(each)) for each in changes]) if changes else None
        return Page(batch, is_full=len(changes) == self._page, is_held_back=held_back)


def encode(change: Change) -> bytes:
    """Return the change as a server-sent event."""
    data = orjson.dumps(payload_of(change)).decode()  # one line: JSON escapes line breaks
    return f"id: {Position.of(change)}\nevent: {change.type}\ndata: {data}\n\n".encode()

"""Reads pages of the feed, encoded as server-sent events."""

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

PAGE_SIZE = 500  # changes
READ_CONCURRENCY = 3  # when a thousand clients reconnect at once, requests still get database connections


@dataclass(frozen=True)
class Batch:
    """Changes in order, each encoded once for all subscribers."""

    events: Sequence[tuple[Position, bytes]]

    @cached_property
    def data(self) -> bytes:
        return b"".join(event for _, event in self.events)

    @property
    def end(self) -> Position:
        return self.events[-1][0]

    def after(self, position: Position) -> bytes:
        """Return the events after the position."""
        if self.events[0][0] > position:
            return self.data
        return b"".join(event for event_position, event in self.events if event_position > position)


@dataclass(frozen=True, slots=True)
class Page:
    """The result of a read. is_held_back: committed changes will become readable without another notification."""

    batch: Batch | None
    is_full: bool
    is_held_back: bool


class PageReader:
    """Reads a few pages at a time, each in a session of its own."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], *, page: int = PAGE_SIZE) -> None:
        self._sessions = sessions
        self._page = page
        self._slots = asyncio.Semaphore(READ_CONCURRENCY)

    async def read(self, organization_id: uuid.UUID, after: Position, *, check_held_back: bool = False) -> Page:
        """Return the organization's next changes. Raises DatabaseUnavailable."""
        async with self._slots, transaction(self._sessions) as session:
            # Before the read: changes that are released between the two statements are then in the page.
            held_back = check_held_back and await is_held_back(session, organization_id=organization_id)
            changes = await read_feed(session, organization_id=organization_id, after=after, limit=self._page)
        batch = Batch([(Position.of(change), encode(change)) for change in changes]) if changes else None
        return Page(batch, is_full=len(changes) == self._page, is_held_back=held_back)


def encode(change: Change) -> bytes:
    """Return the change as a server-sent event."""
    data = orjson.dumps(payload_of(change)).decode()  # one line: JSON escapes line breaks
    return f"id: {Position.of(change)}\nevent: {change.type}\ndata: {data}\n\n".encode()

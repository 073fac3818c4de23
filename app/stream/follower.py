"""Follows one organization's changes while anybody listens, and hands each to all of them."""

import asyncio
import contextvars
import logging
import uuid
from contextlib import suppress

from app.core.errors import DatabaseUnavailable
from app.stream.feed import Position
from app.stream.pages import Page, PageReader
from app.stream.subscriber import Subscriber

log = logging.getLogger(__name__)

SOON = 0.01  # seconds
# Seconds for each listener between two batches: writing to a thousand takes a tenth of a second, and where there is
# much to tell the requests need their share. The changes gather meanwhile, and go out together.
GATHER = 0.0002


class Follower:
    """One reader for an organization's listeners, from a position on. Notifications wake it; a poll is the truth."""

    def __init__(self, reading: PageReader, organization_id: uuid.UUID, *, after: Position, poll: float) -> None:
        self.listeners: set[Subscriber] = set()
        self._reading = reading
        self._organization_id = organization_id
        self._position = after
        self._poll = poll
        self._pause = poll
        self._held_pause = SOON
        self._woken = asyncio.Event()
        self._is_stopped = False
        # in a context of its own: it outlives the request that it began with, whose id is not for its log lines
        self.task = asyncio.create_task(self._follow(), context=contextvars.Context())

    def wake(self) -> None:
        """Read now."""
        self._held_pause = SOON
        self._woken.set()

    def stop(self) -> None:
        """Stop after the page that is being read."""
        self._is_stopped = True
        self._woken.set()

    async def _follow(self) -> None:
        is_failing = False
        while not self._is_stopped:
            self._woken.clear()
            try:
                page = await self._reading.read(self._organization_id, self._position, look_ahead=True)
            except DatabaseUnavailable as error:
                if not is_failing:  # said once, not every second of an outage
                    log.warning("the stream waits for the database: %r", error.__cause__)
                is_failing = True
                self._pause = self._poll
            except Exception:  # an error that got out of here would leave the listeners without changes
                log.exception("the stream's changes can't be read")
                self._pause = self._poll
            else:
                is_failing = False
                self._hand_out(page)
                if page.batch:
                    await asyncio.sleep(GATHER * len(self.listeners))
                if page.is_full:
                    continue
            await self._wait()

    def _hand_out(self, page: Page) -> None:
        if page.batch:
            self._position = page.batch.end
            for listener in self.listeners:
                listener.offer(page.batch)
        # what is held back comes without another notification, mostly within milliseconds
        self._pause = self._held_pause if page.is_held_back else self._poll
        self._held_pause = min(self._held_pause * 2, self._poll) if page.is_held_back else SOON

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._woken.wait()

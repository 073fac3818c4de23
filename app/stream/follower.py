"""Follows one organization's changes while it has subscribers, and hands each change to all of them."""

import asyncio
import contextvars
import logging
import uuid
from contextlib import suppress

from app.core import metrics
from app.core.errors import DatabaseUnavailable
from app.stream.feed import Position
from app.stream.pages import Batch, Page, PageReader

log = logging.getLogger(__name__)

QUEUE_SIZE = 100  # batches
MIN_POLL = 0.01  # seconds
# Seconds per subscriber between two batches: writing to a thousand takes a tenth of a second, and requests need their
# share of the event loop. Changes that come meanwhile go out together.
BATCH_PAUSE = 0.0002


class Subscriber:
    """The hub's end of a stream: a bounded queue. `timeout` is the block that the stream runs in."""

    def __init__(self, timeout: asyncio.Timeout, *, key: str, queue: int = QUEUE_SIZE) -> None:
        self.key = key
        self._timeout = timeout
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(queue)
        self._has_ended = False

    def end(self) -> None:
        """End the stream now, even while it waits for a client that reads nothing."""
        if not self._has_ended:
            self._has_ended = True
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def offer(self, batch: Batch) -> None:
        """Queue the batch. If the queue is full the stream is dropped: its client reconnects and catches up."""
        if self._has_ended:
            return
        try:
            self._queue.put_nowait(batch)
        except asyncio.QueueFull:
            metrics.STREAMS_DROPPED.inc()
            self.end()

    async def next(self, *, within: float) -> Batch | None:
        """Return the next batch, or None after `within` seconds without one."""
        try:
            async with asyncio.timeout(within):
                return await self._queue.get()
        except TimeoutError:
            return None


class Follower:
    """Reads an organization's changes from a position on. Notifications only wake it early: it polls as well."""

    def __init__(self, reader: PageReader, organization_id: uuid.UUID, *, after: Position, poll: float) -> None:
        self.subscribers: set[Subscriber] = set()
        self._reader = reader
        self._organization_id = organization_id
        self._position = after
        self._poll = poll
        self._pause = poll
        self._held_pause = MIN_POLL
        self._woken = asyncio.Event()
        self._is_stopped = False
        # A context of its own: it outlives the request that started it, whose id must not be in its log lines.
        self.task = asyncio.create_task(self._follow(), context=contextvars.Context())

    def wake(self) -> None:
        """Read now."""
        self._held_pause = MIN_POLL
        self._woken.set()

    def stop(self) -> None:
        """Stop after the current page."""
        self._is_stopped = True
        self._woken.set()

    async def _follow(self) -> None:
        is_failing = False
        while not self._is_stopped:
            self._woken.clear()
            try:
                page = await self._reader.read(self._organization_id, self._position, check_held_back=True)
            except DatabaseUnavailable as error:
                if not is_failing:  # once, not every second of an outage
                    log.warning("the stream waits for the database: %r", error.__cause__)
                is_failing = True
                self._pause = self._poll
            except Exception:  # an error that escaped would leave the subscribers without changes
                log.exception("the stream failed to read changes")
                self._pause = self._poll
            else:
                is_failing = False
                self._hand_out(page)
                if page.batch:
                    await asyncio.sleep(BATCH_PAUSE * len(self.subscribers))
                if page.is_full:
                    continue
            await self._wait()

    def _hand_out(self, page: Page) -> None:
        if page.batch:
            self._position = page.batch.end
            for subscriber in self.subscribers:
                subscriber.offer(page.batch)
        # What is held back becomes readable without another notification, mostly within milliseconds.
        self._pause = self._held_pause if page.is_held_back else self._poll
        self._held_pause = min(self._held_pause * 2, self._poll) if page.is_held_back else MIN_POLL

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._woken.wait()

"""A stream's end of the hub: a bounded queue, and a way to end it from outside."""

import asyncio

from app.core import metrics
from app.stream.pages import Batch

QUEUE = 100  # batches


class Subscriber:
    """Somebody who listens. `until` is the block that the stream runs in."""

    def __init__(self, until: asyncio.Timeout, *, key: str, queue: int = QUEUE) -> None:
        self.key = key
        self._until = until
        self._queue: asyncio.Queue[Batch] = asyncio.Queue(queue)
        self._has_ended = False

    def end(self) -> None:
        """End the stream at once, also where it waits for a client that reads nothing."""
        if not self._has_ended:
            self._has_ended = True
            self._until.reschedule(asyncio.get_running_loop().time())

    def offer(self, batch: Batch) -> None:
        """Queue the batch. One whose queue is full is dropped, never waited for: it comes back and catches up."""
        if self._has_ended:
            return
        try:
            self._queue.put_nowait(batch)
        except asyncio.QueueFull:
            metrics.STREAMS_DROPPED.inc()
            self.end()

    async def next(self, *, within: float) -> Batch | None:
        """Return the next batch, or None if there is none within so many seconds."""
        try:
            async with asyncio.timeout(within):
                return await self._queue.get()
        except TimeoutError:
            return None

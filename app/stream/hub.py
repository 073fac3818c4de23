"""The hub, one per process: which streams are open, for which organization and key."""

import asyncio
import contextvars
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, authenticate
from app.core import metrics
from app.core.database import raw_connection
from app.core.errors import MissingScope, Unauthorized
from app.stream.feed import Position
from app.stream.follower import QUEUE_SIZE, Follower, Subscriber
from app.stream.notifications import listen
from app.stream.pages import PAGE_SIZE, READ_CONCURRENCY, PageReader

log = logging.getLogger(__name__)

POLL = 1.0  # seconds
HEARTBEAT = 15.0  # seconds
HEARTBEAT_LINE = b": still here\n\n"

Write = Callable[[bytes], Awaitable[None]]


class Hub:
    """The open streams. `running` adds notifications and the shutdown; without it the hub only polls.

    poll and heartbeat are in seconds, page in changes, queue in batches. The keys are checked with every heartbeat.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        *,
        poll: float = POLL,
        heartbeat: float = HEARTBEAT,
        page: int = PAGE_SIZE,
        queue: int = QUEUE_SIZE,
    ) -> None:
        self._sessions = sessions
        self._reader = PageReader(sessions, page=page)
        self._poll = poll
        self._heartbeat = heartbeat
        self._queue = queue
        self._followers: dict[uuid.UUID, Follower] = {}
        self._subscribers: set[Subscriber] = set()
        self._follower_tasks: set[asyncio.Task[None]] = set()
        self._key_check: asyncio.Task[None] | None = None
        self._is_closed = False
        self.turns = asyncio.Semaphore(READ_CONCURRENCY)
        """Held while a stream starts. The others wait here and not for the connection pool, which would answer 503."""

    @asynccontextmanager
    async def running(self, listen_url: str | None) -> AsyncIterator[None]:
        """Listen to notifications during the block, if there is a URL for it; end the streams at its end."""
        if listen_url is None:
            log.warning("the stream only polls: set DATABASE_LISTEN_URL to get notifications past the pooler")
            listening = asyncio.create_task(asyncio.sleep(0))
        else:
            listening = asyncio.create_task(listen(listen_url, on_notify=self.wake, on_reconnect=self.wake_all))
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, self.stop(), return_exceptions=True)

    def close(self) -> None:
        """End every stream now, and each later one as soon as it starts."""
        self._is_closed = True
        for subscriber in list(self._subscribers):
            subscriber.end()
        for follower in self._followers.values():
            follower.stop()
        if self._key_check:
            self._key_check.cancel()

    async def stop(self) -> None:
        """Close, and wait until all followers have stopped."""
        self.close()
        await asyncio.gather(*self._follower_tasks)

    def wake(self, organization_id: str) -> None:
        """Read the organization's changes now, if it has subscribers."""
        with suppress(ValueError):  # any client of the database can send notifications
            if follower := self._followers.get(uuid.UUID(organization_id)):
                follower.wake()

    def wake_all(self) -> None:
        for follower in self._followers.values():
            follower.wake()

    async def stream(self, write: Write, *, organization_id: uuid.UUID, key: str, after: Position) -> None:
        """Write the changes after the position, until the client disconnects or the hub ends the stream.

        Raises DatabaseUnavailable if past changes can't be read.
        """
        async with self._subscribed(key) as subscriber:
            position = await self._catch_up(write, organization_id, after)
            with self._following(organization_id, subscriber, position):
                # again: its queue lacks what the follower read before this stream joined it
                position = await self._catch_up(write, organization_id, position)
                while True:
                    batch = await subscriber.next(within=self._heartbeat)
                    if data := batch.after(position) if batch else HEARTBEAT_LINE:
                        await write(data)
                    position = max(position, batch.end) if batch else position

    async def _catch_up(self, write: Write, organization_id: uuid.UUID, position: Position) -> Position:
        """Write past changes at the client's pace; return the position after them."""
        while True:
            page = await self._reader.read(organization_id, position)
            if page.batch:
                await write(page.batch.data)
                position = page.batch.end
            if not page.is_full:
                return position

    @asynccontextmanager
    async def _subscribed(self, key: str) -> AsyncIterator[Subscriber]:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                subscriber = Subscriber(timeout, key=key, queue=self._queue)
                self._subscribers.add(subscriber)
                metrics.STREAM_LISTENERS.inc()
                try:
                    if self._is_closed:
                        subscriber.end()
                    elif self._key_check is None or self._key_check.done():
                        self._key_check = asyncio.create_task(self._check_keys(), context=contextvars.Context())
                    yield subscriber
                finally:
                    metrics.STREAM_LISTENERS.dec()
                    self._subscribers.discard(subscriber)

    @contextmanager
    def _following(self, organization_id: uuid.UUID, subscriber: Subscriber, after: Position) -> Iterator[None]:
        follower = self._followers.get(organization_id)
        if follower is None:
            follower = Follower(self._reader, organization_id, after=after, poll=self._poll)
            self._followers[organization_id] = follower
            self._follower_tasks.add(follower.task)
            follower.task.add_done_callback(self._follower_tasks.discard)
        follower.subscribers.add(subscriber)
        try:
            yield
        finally:
            follower.subscribers.discard(subscriber)
            if not follower.subscribers:
                follower.stop()
                del self._followers[organization_id]

    async def _check_keys(self) -> None:
        """End the streams whose key is no longer valid."""
        while self._subscribers:
            await asyncio.sleep(self._heartbeat)
            for key in {subscriber.key for subscriber in self._subscribers}:
                if not await self._is_valid(key):
                    for subscriber in [subscriber for subscriber in self._subscribers if subscriber.key == key]:
                        subscriber.end()

    async def _is_valid(self, key: str) -> bool:
        try:
            async with raw_connection(self._sessions) as connection:
                (await authenticate(connection, key=key)).require(Scope.READ)
        except (Unauthorized, MissingScope):
            return False
        except Exception:  # an error that escaped would leave the streams of revoked keys open
            log.exception("a stream's key could not be checked, it is checked again later")
        return True

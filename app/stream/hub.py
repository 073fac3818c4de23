"""The hub: one a process. Who listens to which organization, and until when."""

import asyncio
import contextvars
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, authenticate
from app.core import metrics
from app.core.database import transaction
from app.core.errors import MissingScope, Unauthorized
from app.stream.feed import Position
from app.stream.follower import Follower
from app.stream.notifications import listen
from app.stream.pages import AT_ONCE, PAGE, PageReader
from app.stream.subscriber import QUEUE, Subscriber

log = logging.getLogger(__name__)

POLL = 1.0  # seconds
HEARTBEAT = 15.0  # seconds
HEARTBEAT_LINE = b": still here\n\n"

Write = Callable[[bytes], Awaitable[None]]


class Hub:
    """Works wherever there is an event loop; `running` adds what makes it prompt, and its end.

    poll and heartbeat are in seconds, page in changes, queue in batches. With every heartbeat the keys are looked at.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        *,
        poll: float = POLL,
        heartbeat: float = HEARTBEAT,
        page: int = PAGE,
        queue: int = QUEUE,
    ) -> None:
        self._sessions = sessions
        self._reading = PageReader(sessions, page=page)
        self._poll = poll
        self._heartbeat = heartbeat
        self._queue = queue
        self._followers: dict[uuid.UUID, Follower] = {}
        self._listeners: set[Subscriber] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._keys: asyncio.Task[None] | None = None
        self._is_closed = False
        self.turns = asyncio.Semaphore(AT_ONCE)
        """One for each stream that begins: the others wait here, not for the pool, which ends in a 503."""

    @asynccontextmanager
    async def running(self, listen_url: str | None) -> AsyncIterator[None]:
        """Hear the database's notifications during the block, where they can be heard; at its end the streams end."""
        if listen_url is None:
            log.warning("the stream only polls: notifications pass no transaction pooler, set DATABASE_LISTEN_URL")
            hearing = asyncio.create_task(asyncio.sleep(0))
        else:
            hearing = asyncio.create_task(listen(listen_url, on_notify=self.wake, on_reconnect=self.wake_all))
        try:
            yield
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, self.stop(), return_exceptions=True)

    def close(self) -> None:
        """End every stream at once; one that begins later ends at its beginning."""
        self._is_closed = True
        for listener in list(self._listeners):
            listener.end()
        for follower in self._followers.values():
            follower.stop()
        if self._keys:
            self._keys.cancel()

    async def stop(self) -> None:
        """Close, and wait until nothing is read any more."""
        self.close()
        await asyncio.gather(*self._ending)

    def wake(self, organization_id: str) -> None:
        """Read the organization's changes now, if anybody listens to them."""
        with suppress(ValueError):  # anybody who may connect to the database may notify
            if follower := self._followers.get(uuid.UUID(organization_id)):
                follower.wake()

    def wake_all(self) -> None:
        for follower in self._followers.values():
            follower.wake()

    async def stream(self, write: Write, *, organization_id: uuid.UUID, key: str, after: Position) -> None:
        """Write all that changes after the position, until the caller is gone or the stream is ended from here.

        Raises DatabaseUnavailable if what has changed already can't be read.
        """
        async with self._listening(key) as listener:
            position = await self._catch_up(write, organization_id, after)
            with self._following(organization_id, listener, position):
                # once more: what was read for the others before this one followed is not in its queue
                position = await self._catch_up(write, organization_id, position)
                while True:
                    batch = await listener.next(within=self._heartbeat)
                    if data := batch.after(position) if batch else HEARTBEAT_LINE:
                        await write(data)
                    position = max(position, batch.end) if batch else position

    async def _catch_up(self, write: Write, organization_id: uuid.UUID, position: Position) -> Position:
        """Write what can be read by now, at the pace of the caller; return how far that was."""
        while True:
            page = await self._reading.read(organization_id, position)
            if page.batch:
                await write(page.batch.data)
                position = page.batch.end
            if not page.is_full:
                return position

    @asynccontextmanager
    async def _listening(self, key: str) -> AsyncIterator[Subscriber]:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as until:
                listener = Subscriber(until, key=key, queue=self._queue)
                self._listeners.add(listener)
                metrics.STREAM_LISTENERS.inc()
                try:
                    self._begin(listener)
                    yield listener
                finally:
                    metrics.STREAM_LISTENERS.dec()
                    self._listeners.discard(listener)

    def _begin(self, listener: Subscriber) -> None:
        if self._is_closed:
            listener.end()
        elif self._keys is None or self._keys.done():
            self._keys = asyncio.create_task(self._watch_keys(), context=contextvars.Context())

    @contextmanager
    def _following(self, organization_id: uuid.UUID, listener: Subscriber, after: Position) -> Iterator[None]:
        follower = self._followers.get(organization_id)
        if follower is None:
            follower = Follower(self._reading, organization_id, after=after, poll=self._poll)
            self._followers[organization_id] = follower
            self._ending.add(follower.task)
            follower.task.add_done_callback(self._ending.discard)
        follower.listeners.add(listener)
        try:
            yield
        finally:
            follower.listeners.discard(listener)
            if not follower.listeners:
                follower.stop()
                del self._followers[organization_id]

    async def _watch_keys(self) -> None:
        """End the streams whose key was revoked."""
        while self._listeners:
            await asyncio.sleep(self._heartbeat)
            for key in {listener.key for listener in self._listeners}:
                if not await self._is_good(key):
                    for listener in [each for each in self._listeners if each.key == key]:
                        listener.end()

    async def _is_good(self, key: str) -> bool:
        try:
            async with transaction(self._sessions) as session:
                (await authenticate(session, key=key)).require(Scope.READ)
        except (Unauthorized, MissingScope):
            return False
        except Exception:  # an error that got out of here would leave revoked keys their streams
            log.exception("whether a stream's key is still good is asked again later")
        return True

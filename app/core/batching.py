"""Batching: concurrent calls share one run, and each caller gets its own result.

A call that arrives alone runs at once. While `concurrency` runs are in progress, later calls queue and share the next
run, so the cost per call falls as the load rises. The queue is in memory only.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.core.errors import DatabaseUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

QUEUE_TIMEOUT = 10.0  # seconds that a call may wait for its run to start
RUN_TIMEOUT = 20.0  # seconds; Postgres ends a slow statement sooner, but only this ends a run whose network is silent


@dataclass(frozen=True, slots=True)
class Deferred(Generic[Result]):
    """A result that a run leaves to be computed after it, so that one slow item delays no other run."""

    work: Callable[[], Coroutine[Any, Any, Result]]


@dataclass(eq=False, slots=True)
class _Call(Generic[Item, Result]):
    item: Item
    key: Hashable
    queued_at: float
    future: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Call it with an item: it returns the item's result, or raises the item's exception.

    `run` gets up to `max_batch` items in the order of the calls, and returns one result for each: a value, an exception
    or Deferred. If `run` itself raises, every caller of the batch gets the exception. At most `concurrency` runs are
    in progress.

    `key` returns an item's key. Items with the same key run one after the other, in order; None means no key.

    When a caller is cancelled, its item leaves the queue. A run that has started goes on.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception | Deferred[Result]]]],
        *,
        max_batch: int,
        concurrency: int,
        key: Callable[[Item], Hashable] = lambda _: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._concurrency = concurrency
        self._key = key
        self._waiting: deque[_Call[Item, Result]] = deque()
        # by key, the calls behind the current one; a key is present while one of its calls waits or runs
        self._queues: dict[Hashable, deque[_Call[Item, Result]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs = 0
        self._is_starting = False

    async def __call__(self, item: Item) -> Result:
        """Return the item's result. Raises DatabaseUnavailable if its run did not start or finish in time."""
        loop = asyncio.get_running_loop()
        call: _Call[Item, Result] = _Call(item, self._key(item), loop.time(), loop.create_future())
        if call.key in self._queues:
            self._queues[call.key].append(call)
        else:
            if call.key is not None:
                self._queues[call.key] = deque()
            self._waiting.append(call)
            self._start()
        return await call.future

    async def finish(self) -> None:
        """Wait until nothing runs or waits."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self) -> None:
        """Start a run if calls wait and one more may run. It takes all calls made in this turn of the event loop."""
        if self._waiting and not self._is_starting and self._runs < self._concurrency:
            self._is_starting = True
            self._spawn(self._run_batches())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # in an empty context: what a run logs belongs to many requests
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_batches(self) -> None:
        self._is_starting = False
        self._runs += 1
        try:
            while calls := self._take_batch():
                self._start()  # another run, for the calls beyond max_batch
                await self._run_batch(calls)
        finally:
            self._runs -= 1
            self._start()

    def _take_batch(self) -> list[_Call[Item, Result]]:
        """Take the calls of the next run off the queue, in order."""
        batch: list[_Call[Item, Result]] = []
        overdue = asyncio.get_running_loop().time() - QUEUE_TIMEOUT
        while self._waiting and len(batch) < self._max_batch:
            call = self._waiting.popleft()
            if call.future.done():
                self._release(call.key)
            elif call.queued_at < overdue:
                self._resolve(call, DatabaseUnavailable())
            else:
                batch.append(call)
        return batch

    async def _run_batch(self, calls: Sequence[_Call[Item, Result]]) -> None:
        results: Sequence[Result | Exception | Deferred[Result]]
        try:
            results = await _with_timeout(self._run([call.item for call in calls]))
            if len(results) != len(calls):
                raise ValueError(f"a run of {len(calls)} items returned {len(results)} results")
        except Exception as error:  # noqa: BLE001 - each caller raises it
            results = [error] * len(calls)
        except BaseException:
            self._cancel(calls)
            raise
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Deferred):
                self._spawn(self._run_deferred(call, result))
            else:
                self._resolve(call, result)

    async def _run_deferred(self, call: _Call[Item, Result], deferred: Deferred[Result]) -> None:
        try:
            self._resolve(call, await _with_timeout(deferred.work()))
        except Exception as error:  # noqa: BLE001 - its caller raises it
            self._resolve(call, error)
        except BaseException:
            self._cancel([call])
            raise
        finally:
            self._start()

    def _release(self, key: Hashable) -> None:
        """Queue the next call of the key for a run."""
        if key is None:
            return
        if queue := self._queues[key]:
            self._waiting.append(queue.popleft())
        else:
            del self._queues[key]

    def _resolve(self, call: _Call[Item, Result], result: Result | Exception) -> None:
        self._release(call.key)
        if call.future.done():
            return
        if isinstance(result, Exception):
            call.future.set_exception(result)
        else:
            call.future.set_result(result)

    def _cancel(self, calls: Sequence[_Call[Item, Result]]) -> None:
        for call in calls:
            call.future.cancel()
            self._release(call.key)


async def _with_timeout(work: Awaitable[Result]) -> Result:
    """Await the work. Raises DatabaseUnavailable, and cancels the work, after RUN_TIMEOUT."""
    try:
        async with asyncio.timeout(RUN_TIMEOUT):
            return await work
    except TimeoutError as error:
        raise DatabaseUnavailable from error

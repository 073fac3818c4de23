"""Gathering: what many callers ask for at the same time is done in one run, and each gets its own answer.

A lone call runs at once. While as many runs as may be are under way, those who come later wait, and go together into
the next one: so the more there is to do, the less each costs. Nothing here outlives the process, nor has to.
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

QUEUE_TIMEOUT = 10.0  # seconds that a call waits for its run to begin
RUN_TIMEOUT = 20.0  # seconds of a run: Postgres ends a statement sooner, but a network that swallows all ends nothing


@dataclass(frozen=True, slots=True)
class Deferred(Generic[Result]):
    """A result that is still to come, in a run's results: its work goes on by itself, and holds up no other run."""

    work: Callable[[], Coroutine[Any, Any, Result]]


class _Call(Generic[Item, Result]):
    __slots__ = ("answer", "item", "key", "since")

    def __init__(self, item: Item, key: Hashable, loop: asyncio.AbstractEventLoop) -> None:
        self.item = item
        self.key = key
        self.since = loop.time()
        self.answer: asyncio.Future[Result] = loop.create_future()


class Batcher(Generic[Item, Result]):
    """Call it with an item: it returns the item's result, or raises what became of it.

    `run` takes up to `max_batch` items, in the order of the calls, and returns one result each: a value, an exception,
    or Deferred. What it raises is raised to all of that run. At most `concurrency` runs are under way.

    `key` gives an item's key: those of one key are never under way together, and keep their order. None: no such key.

    A caller that goes away takes its own item along if that waits still, and nothing else: a run under way goes on.
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
        self._most = max_batch
        self._at_once = concurrency
        self._key = key
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._lines: dict[Hashable, deque[_Call[Item, Result]]] = {}
        """Who waits for the one before of the same key; a key is here as long as one of it waits or is under way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs = 0
        self._is_starting = False

    async def __call__(self, item: Item) -> Result:
        """Return the item's result. Raises DatabaseUnavailable if its run did not begin in time, or did not end."""
        call: _Call[Item, Result] = _Call(item, self._key(item), asyncio.get_running_loop())
        if call.key in self._lines:
            self._lines[call.key].append(call)
        else:
            if call.key is not None:
                self._lines[call.key] = deque()
            self._waiting.append(call)
            self._start()
        return await call.answer

    async def finish(self) -> None:
        """Wait for all that is under way or waits."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self) -> None:
        """Begin a run, once whoever else is about to call has called."""
        if not self._is_starting and self._runs < self._at_once:
            self._is_starting = True
            self._spawn(self._go())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # In no caller's context: what a run logs belongs to many requests.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go(self) -> None:
        """Run as long as somebody waits."""
        self._is_starting = False
        self._runs += 1
        try:
            while calls := self._take():
                self._go_on()  # with those that are more than one run takes
                await self._answer(calls)
        finally:
            self._runs -= 1
            self._go_on()

    def _go_on(self) -> None:
        if self._waiting:
            self._start()

    def _take(self) -> list[_Call[Item, Result]]:
        """Return who goes into the next run, in order."""
        taken: list[_Call[Item, Result]] = []
        overdue = asyncio.get_running_loop().time() - QUEUE_TIMEOUT
        while self._waiting and len(taken) < self._most:
            call = self._waiting.popleft()
            if call.answer.done():
                self._release(call.key)
            elif call.since < overdue:
                self._end(call, DatabaseUnavailable())
            else:
                taken.append(call)
        return taken

    def _release(self, key: Hashable) -> None:
        """Let the next one of the key go."""
        if key is None:
            return
        if line := self._lines[key]:
            self._waiting.append(line.popleft())
        else:
            del self._lines[key]

    async def _answer(self, calls: Sequence[_Call[Item, Result]]) -> None:
        results: Sequence[Result | Exception | Deferred[Result]]
        try:
            results = await _in_time(self._run([call.item for call in calls]))
            if len(results) != len(calls):
                raise ValueError(f"a run of {len(calls)} gave {len(results)} results")
        except Exception as error:  # noqa: BLE001 - each caller raises it
            results = [error] * len(calls)
        except BaseException:
            self._cancel(calls)
            raise
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Deferred):
                self._spawn(self._finish_alone(call, result))
            else:
                self._end(call, result)

    async def _finish_alone(self, call: _Call[Item, Result], alone: Deferred[Result]) -> None:
        result: Result | Exception
        try:
            result = await _in_time(alone.work())
        except Exception as error:  # noqa: BLE001 - its caller raises it
            result = error
        except BaseException:
            self._cancel([call])
            self._go_on()
            raise
        self._end(call, result)
        self._go_on()  # with whom its key held

    def _end(self, call: _Call[Item, Result], result: Result | Exception) -> None:
        """Answer the caller, if it is still there, and let the next one of its key go."""
        self._release(call.key)
        if call.answer.done():
            return
        if isinstance(result, Exception):
            call.answer.set_exception(result)
        else:
            call.answer.set_result(result)

    def _cancel(self, calls: Sequence[_Call[Item, Result]]) -> None:
        for call in calls:
            call.answer.cancel()
            self._release(call.key)


async def _in_time(work: Awaitable[Result]) -> Result:
    """Return what the work gives. Raises DatabaseUnavailable after LONGEST, when it is cancelled."""
    try:
        async with asyncio.timeout(RUN_TIMEOUT):
            return await work
    except TimeoutError as error:
        raise DatabaseUnavailable from error

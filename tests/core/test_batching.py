"""Many callers, few runs: what shares a run, what does not, and that no caller pays for another."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from app.core import batching
from app.core.batching import Batcher, Deferred
from app.core.errors import DatabaseUnavailable

Outcome = str | Exception | Deferred[str]


class Runs:
    """A `run` that blocks until its event is set, and records its batches. Results are in capitals."""

    def __init__(self, **results: Outcome) -> None:
        self.results = results
        self.batches: list[list[str]] = []
        self.events: list[asyncio.Event] = []
        self._started = asyncio.Condition()

    async def __call__(self, items: Sequence[str]) -> Sequence[Outcome]:
        event = asyncio.Event()
        async with self._started:
            self.batches.append(list(items))
            self.events.append(event)
            self._started.notify_all()
        await event.wait()
        return [self.results.get(item, item.upper()) for item in items]

    async def wait_for(self, count: int) -> None:
        async with self._started:
            await self._started.wait_for(lambda: len(self.batches) >= count)


def call(batcher: Batcher[str, str], *items: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(batcher(item), name=item) for item in items]


async def idle() -> None:
    """Let all tasks run that can: they wait only for the event loop."""
    for _ in range(10):
        await asyncio.sleep(0)


def initial(item: str) -> str:
    return item[0]


async def test_a_lone_call_runs_at_once() -> None:
    runs = Runs()
    (one,) = call(Batcher(runs, max_batch=10, concurrency=1), "a")
    await runs.wait_for(1)
    runs.events[0].set()
    assert await one == "A"
    assert runs.batches == [["a"]]


async def test_calls_during_a_run_share_the_next_run() -> None:
    runs = Runs()
    batcher = Batcher(runs, max_batch=10, concurrency=1)
    first = call(batcher, "a")
    await runs.wait_for(1)
    others = call(batcher, "b", "c", "d")
    await idle()
    assert runs.batches == [["a"]]
    runs.events[0].set()
    await runs.wait_for(2)
    runs.events[1].set()
    assert await asyncio.gather(*first, *others) == ["A", "B", "C", "D"]
    assert runs.batches == [["a"], ["b", "c", "d"]]


async def test_calls_in_one_turn_of_the_event_loop_share_a_run() -> None:
    runs = Runs()
    calls = call(Batcher(runs, max_batch=10, concurrency=4), "a", "b", "c")
    await runs.wait_for(1)
    runs.events[0].set()
    await asyncio.gather(*calls)
    assert runs.batches == [["a", "b", "c"]]


async def test_neither_max_batch_nor_concurrency_is_exceeded() -> None:
    runs = Runs()
    calls = call(Batcher(runs, max_batch=2, concurrency=2), *"abcdefg")
    await runs.wait_for(2)
    await idle()
    assert runs.batches == [["a", "b"], ["c", "d"]]
    runs.events[1].set()
    await runs.wait_for(3)
    await idle()
    assert runs.batches[2:] == [["e", "f"]]
    runs.events[0].set()
    await runs.wait_for(4)
    for event in runs.events:
        event.set()
    assert await asyncio.gather(*calls) == list("ABCDEFG")


async def test_each_gets_its_own_result_or_exception() -> None:
    runs = Runs(b=LookupError("no b"))
    calls = call(Batcher(runs, max_batch=10, concurrency=1), "a", "b", "c")
    await runs.wait_for(1)
    runs.events[0].set()
    a, b, c = await asyncio.gather(*calls, return_exceptions=True)
    assert [a, c] == ["A", "C"]
    assert isinstance(b, LookupError)


async def test_what_a_run_raises_all_its_callers_raise_and_the_next_run_starts() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        if "bad" in items:
            raise LookupError(str(items))
        return list(items)

    batcher: Batcher[str, str] = Batcher(run, max_batch=2, concurrency=1)
    results = await asyncio.gather(*call(batcher, "a", "bad", "c"), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError, str]


async def test_a_run_with_too_few_results_leaves_no_caller_waiting() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        return items[1:]

    results = await asyncio.gather(*call(Batcher(run, max_batch=9, concurrency=1), "a", "b"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]


async def test_a_call_cancelled_while_it_waits_is_not_run() -> None:
    runs = Runs()
    batcher = Batcher(runs, max_batch=10, concurrency=1)
    (first,) = call(batcher, "a")
    await runs.wait_for(1)
    gone, stays = call(batcher, "gone", "stays")
    await idle()
    gone.cancel()
    runs.events[0].set()
    await runs.wait_for(2)
    runs.events[1].set()
    assert [await first, await stays] == ["A", "STAYS"]
    assert runs.batches == [["a"], ["stays"]]
    assert gone.cancelled()


async def test_a_call_cancelled_during_its_run_affects_no_other() -> None:
    runs = Runs()
    batcher = Batcher(runs, max_batch=10, concurrency=1)
    gone, stays = call(batcher, "gone", "stays")
    await runs.wait_for(1)
    gone.cancel()
    await idle()
    assert gone.cancelled()
    runs.events[0].set()
    assert await stays == "STAYS"
    (later,) = call(batcher, "later")
    await runs.wait_for(2)
    runs.events[1].set()
    assert await later == "LATER"


async def test_those_of_one_key_are_never_under_way_together_and_keep_their_order() -> None:
    runs = Runs()
    calls = call(Batcher(runs, max_batch=10, concurrency=2, key=initial), "a1", "a2", "a3", "b1", "b2")
    await runs.wait_for(1)
    await idle()
    assert runs.batches == [["a1", "b1"]]
    for number in range(3):
        await runs.wait_for(number + 1)
        runs.events[number].set()
    await asyncio.gather(*calls)
    assert runs.batches == [["a1", "b1"], ["a2", "b2"], ["a3"]]


async def test_a_running_key_blocks_no_other_key() -> None:
    runs = Runs()
    batcher = Batcher(runs, max_batch=10, concurrency=2, key=initial)
    first = call(batcher, "a1")
    await runs.wait_for(1)
    second = call(batcher, "a2", "b1")
    await runs.wait_for(2)
    runs.events[1].set()
    await second[1]
    assert runs.batches == [["a1"], ["b1"]]
    runs.events[0].set()
    await runs.wait_for(3)
    runs.events[2].set()
    assert await asyncio.gather(*first, *second) == ["A1", "A2", "B1"]


def deferred(event: asyncio.Event, result: str | Exception) -> Deferred[str]:
    async def work() -> str:
        await event.wait()
        if isinstance(result, Exception):
            raise result
        return result

    return Deferred(work)


async def test_a_deferred_result_blocks_its_key_but_no_run() -> None:
    event = asyncio.Event()
    runs = Runs(a1=deferred(event, "alone"))
    batcher = Batcher(runs, max_batch=10, concurrency=1, key=initial)
    a1, b1, a2 = call(batcher, "a1", "b1", "a2")
    await runs.wait_for(1)
    runs.events[0].set()
    assert await b1 == "B1"
    (c1,) = call(batcher, "c1")
    await runs.wait_for(2)
    runs.events[1].set()
    assert await c1 == "C1"
    assert runs.batches == [["a1", "b1"], ["c1"]]
    event.set()
    assert await a1 == "alone"
    await runs.wait_for(3)
    runs.events[2].set()
    assert await a2 == "A2"
    assert runs.batches[2:] == [["a2"]]


async def test_an_exception_of_deferred_work_is_raised_to_its_caller() -> None:
    event = asyncio.Event()
    event.set()
    runs = Runs(a=deferred(event, LookupError("no a")))
    calls = call(Batcher(runs, max_batch=10, concurrency=1, key=initial), "a", "b")
    await runs.wait_for(1)
    runs.events[0].set()
    a, b = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(a, LookupError)
    assert b == "B"


async def test_finish_waits_for_running_and_waiting_calls() -> None:
    event = asyncio.Event()
    runs = Runs(a=deferred(event, "alone"))
    batcher = Batcher(runs, max_batch=1, concurrency=1)
    calls = call(batcher, "a", "b")
    await runs.wait_for(1)
    finished = asyncio.create_task(batcher.finish())
    for number in range(2):
        await runs.wait_for(number + 1)
        assert not finished.done()
        runs.events[number].set()
    await idle()
    assert not finished.done()
    event.set()
    await finished
    assert [each.result() for each in calls] == ["alone", "B"]


async def test_a_call_that_waited_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs()
    batcher = Batcher(runs, max_batch=10, concurrency=1)
    (first,) = call(batcher, "a")
    await runs.wait_for(1)
    (late,) = call(batcher, "late")
    await idle()
    monkeypatch.setattr(batching, "QUEUE_TIMEOUT", -1.0)
    runs.events[0].set()
    with pytest.raises(DatabaseUnavailable):
        await late
    assert await first == "A"
    assert runs.batches == [["a"]]


async def test_a_run_has_no_callers_context() -> None:
    context: ContextVar[str] = ContextVar("context", default="empty")

    async def run(items: Sequence[str]) -> Sequence[str]:
        return [context.get() for _ in items]

    context.set("the caller's")
    assert await Batcher(run, max_batch=1, concurrency=1)("a") == "empty"


async def test_a_cancelled_run_cancels_its_callers() -> None:
    async def run(_: Sequence[str]) -> Sequence[str]:
        raise asyncio.CancelledError

    results = await asyncio.gather(*call(Batcher(run, max_batch=9, concurrency=1), "a", "b"), return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2


def test_a_batcher_works_in_several_event_loops() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        return list(items)

    batcher: Batcher[str, str] = Batcher(run, max_batch=1, concurrency=1, key=initial)
    call: Callable[[str], Coroutine[Any, Any, str]] = batcher.__call__
    assert [asyncio.run(call("a")), asyncio.run(call("a"))] == ["a", "a"]


async def test_after_a_cancelled_run_the_next_one_starts() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        if "ends" in items:
            raise asyncio.CancelledError
        return list(items)

    calls = call(Batcher(run, max_batch=1, concurrency=1), "ends", "b")
    async with asyncio.timeout(60):
        assert await calls[1] == "b"
    assert calls[0].cancelled()


async def test_cancelled_deferred_work_releases_its_key() -> None:
    async def cancelled() -> str:
        raise asyncio.CancelledError

    async def run(items: Sequence[str]) -> Sequence[Outcome]:
        return [Deferred(cancelled) if item == "a1" else item for item in items]

    calls = call(Batcher(run, max_batch=9, concurrency=1, key=initial), "a1", "a2")
    async with asyncio.timeout(60):
        assert await calls[1] == "a2"
    assert calls[0].cancelled()


@pytest.mark.parametrize("is_deferred", [False, True])
async def test_a_run_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch, is_deferred: bool) -> None:
    monkeypatch.setattr(batching, "RUN_TIMEOUT", 0.01)

    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    async def run(items: Sequence[str]) -> Sequence[Outcome]:
        if "a1" in items:
            return [Deferred(hang)] if is_deferred else [await hang()]
        return list(items)

    calls = call(Batcher(run, max_batch=1, concurrency=1, key=initial), "a1", "a2", "b")
    async with asyncio.timeout(60):
        with pytest.raises(DatabaseUnavailable):
            await calls[0]
        assert [await each for each in calls[1:]] == ["a2", "b"]

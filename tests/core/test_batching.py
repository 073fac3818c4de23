"""Many callers, few runs: what shares a run, what does not, and that no caller pays for another."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from app.core import batching
from app.core.batching import Batcher, Deferred
from app.core.errors import DatabaseUnavailable

Given = str | Exception | Deferred[str]


class Kitchen:
    """A run that waits until it is let go, and remembers who came together. What it gives is in capitals."""

    def __init__(self, **given: Given) -> None:
        self.given = given
        self.runs: list[list[str]] = []
        self.doors: list[asyncio.Event] = []
        self._began = asyncio.Condition()

    async def __call__(self, items: Sequence[str]) -> Sequence[Given]:
        door = asyncio.Event()
        async with self._began:
            self.runs.append(list(items))
            self.doors.append(door)
            self._began.notify_all()
        await door.wait()
        return [self.given.get(item, item.upper()) for item in items]

    async def began(self, count: int) -> None:
        async with self._began:
            await self._began.wait_for(lambda: len(self.runs) >= count)


def call(batcher: Batcher[str, str], *items: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(batcher(item), name=item) for item in items]


async def settled() -> None:
    """Let everybody who can go on go on: nothing here waits for anything but the loop's next turns."""
    for _ in range(10):
        await asyncio.sleep(0)


def initial(item: str) -> str:
    return item[0]


async def test_a_lone_call_runs_at_once() -> None:
    kitchen = Kitchen()
    (one,) = call(Batcher(kitchen, max_batch=10, concurrency=1), "a")
    await kitchen.began(1)
    kitchen.doors[0].set()
    assert await one == "A"
    assert kitchen.runs == [["a"]]


async def test_those_who_come_during_a_run_go_together_into_the_next() -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen, max_batch=10, concurrency=1)
    first = call(batcher, "a")
    await kitchen.began(1)
    others = call(batcher, "b", "c", "d")
    await settled()
    assert kitchen.runs == [["a"]]
    kitchen.doors[0].set()
    await kitchen.began(2)
    kitchen.doors[1].set()
    assert await asyncio.gather(*first, *others) == ["A", "B", "C", "D"]
    assert kitchen.runs == [["a"], ["b", "c", "d"]]


async def test_those_who_call_in_the_same_turn_of_the_loop_go_together() -> None:
    kitchen = Kitchen()
    calls = call(Batcher(kitchen, max_batch=10, concurrency=4), "a", "b", "c")
    await kitchen.began(1)
    kitchen.doors[0].set()
    await asyncio.gather(*calls)
    assert kitchen.runs == [["a", "b", "c"]]


async def test_no_run_takes_more_than_the_most_nor_do_more_run_at_once() -> None:
    kitchen = Kitchen()
    calls = call(Batcher(kitchen, max_batch=2, concurrency=2), *"abcdefg")
    await kitchen.began(2)
    await settled()
    assert kitchen.runs == [["a", "b"], ["c", "d"]]
    kitchen.doors[1].set()
    await kitchen.began(3)
    await settled()
    assert kitchen.runs[2:] == [["e", "f"]]
    kitchen.doors[0].set()
    await kitchen.began(4)
    for door in kitchen.doors:
        door.set()
    assert await asyncio.gather(*calls) == list("ABCDEFG")


async def test_each_gets_its_own_result_or_exception() -> None:
    kitchen = Kitchen(b=LookupError("no b"))
    calls = call(Batcher(kitchen, max_batch=10, concurrency=1), "a", "b", "c")
    await kitchen.began(1)
    kitchen.doors[0].set()
    a, b, c = await asyncio.gather(*calls, return_exceptions=True)
    assert [a, c] == ["A", "C"]
    assert isinstance(b, LookupError)


async def test_what_a_run_raises_all_of_it_raise_and_the_next_run_goes_on() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        if "bad" in items:
            raise LookupError(str(items))
        return list(items)

    batcher: Batcher[str, str] = Batcher(run, max_batch=2, concurrency=1)
    results = await asyncio.gather(*call(batcher, "a", "bad", "c"), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError, str]


async def test_a_run_that_gives_too_few_results_leaves_nobody_waiting() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        return items[1:]

    results = await asyncio.gather(*call(Batcher(run, max_batch=9, concurrency=1), "a", "b"), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]


async def test_who_goes_away_while_it_waits_is_not_run() -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen, max_batch=10, concurrency=1)
    (first,) = call(batcher, "a")
    await kitchen.began(1)
    gone, stays = call(batcher, "gone", "stays")
    await settled()
    gone.cancel()
    kitchen.doors[0].set()
    await kitchen.began(2)
    kitchen.doors[1].set()
    assert [await first, await stays] == ["A", "STAYS"]
    assert kitchen.runs == [["a"], ["stays"]]
    assert gone.cancelled()


async def test_who_goes_away_during_its_run_ends_it_for_nobody() -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen, max_batch=10, concurrency=1)
    gone, stays = call(batcher, "gone", "stays")
    await kitchen.began(1)
    gone.cancel()
    await settled()
    assert gone.cancelled()
    kitchen.doors[0].set()
    assert await stays == "STAYS"
    (later,) = call(batcher, "later")
    await kitchen.began(2)
    kitchen.doors[1].set()
    assert await later == "LATER"


async def test_those_of_one_key_are_never_under_way_together_and_keep_their_order() -> None:
    kitchen = Kitchen()
    calls = call(Batcher(kitchen, max_batch=10, concurrency=2, key=initial), "a1", "a2", "a3", "b1", "b2")
    await kitchen.began(1)
    await settled()
    assert kitchen.runs == [["a1", "b1"]]
    for number in range(3):
        await kitchen.began(number + 1)
        kitchen.doors[number].set()
    await asyncio.gather(*calls)
    assert kitchen.runs == [["a1", "b1"], ["a2", "b2"], ["a3"]]


async def test_a_key_under_way_holds_up_no_other() -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen, max_batch=10, concurrency=2, key=initial)
    first = call(batcher, "a1")
    await kitchen.began(1)
    second = call(batcher, "a2", "b1")
    await kitchen.began(2)
    kitchen.doors[1].set()
    await second[1]
    assert kitchen.runs == [["a1"], ["b1"]]
    kitchen.doors[0].set()
    await kitchen.began(3)
    kitchen.doors[2].set()
    assert await asyncio.gather(*first, *second) == ["A1", "A2", "B1"]


def later(door: asyncio.Event, result: str | Exception) -> Deferred[str]:
    async def work() -> str:
        await door.wait()
        if isinstance(result, Exception):
            raise result
        return result

    return Deferred(work)


async def test_what_goes_on_alone_holds_up_its_own_key_and_no_run() -> None:
    door = asyncio.Event()
    kitchen = Kitchen(a1=later(door, "alone"))
    batcher = Batcher(kitchen, max_batch=10, concurrency=1, key=initial)
    a1, b1, a2 = call(batcher, "a1", "b1", "a2")
    await kitchen.began(1)
    kitchen.doors[0].set()
    assert await b1 == "B1"
    (c1,) = call(batcher, "c1")
    await kitchen.began(2)
    kitchen.doors[1].set()
    assert await c1 == "C1"
    assert kitchen.runs == [["a1", "b1"], ["c1"]]
    door.set()
    assert await a1 == "alone"
    await kitchen.began(3)
    kitchen.doors[2].set()
    assert await a2 == "A2"
    assert kitchen.runs[2:] == [["a2"]]


async def test_what_fails_alone_is_raised_to_its_caller() -> None:
    door = asyncio.Event()
    door.set()
    kitchen = Kitchen(a=later(door, LookupError("no a")))
    calls = call(Batcher(kitchen, max_batch=10, concurrency=1, key=initial), "a", "b")
    await kitchen.began(1)
    kitchen.doors[0].set()
    a, b = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(a, LookupError)
    assert b == "B"


async def test_finish_waits_for_all_that_is_under_way_or_waits() -> None:
    door = asyncio.Event()
    kitchen = Kitchen(a=later(door, "alone"))
    batcher = Batcher(kitchen, max_batch=1, concurrency=1)
    calls = call(batcher, "a", "b")
    await kitchen.began(1)
    finished = asyncio.create_task(batcher.finish())
    for number in range(2):
        await kitchen.began(number + 1)
        assert not finished.done()
        kitchen.doors[number].set()
    await settled()
    assert not finished.done()
    door.set()
    await finished
    assert [each.result() for each in calls] == ["alone", "B"]


async def test_who_waited_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen = Kitchen()
    batcher = Batcher(kitchen, max_batch=10, concurrency=1)
    (first,) = call(batcher, "a")
    await kitchen.began(1)
    (late,) = call(batcher, "late")
    await settled()
    monkeypatch.setattr(batching, "QUEUE_TIMEOUT", -1.0)
    kitchen.doors[0].set()
    with pytest.raises(DatabaseUnavailable):
        await late
    assert await first == "A"
    assert kitchen.runs == [["a"]]


async def test_a_run_is_in_no_callers_context() -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")

    async def run(items: Sequence[str]) -> Sequence[str]:
        return [whose.get() for _ in items]

    whose.set("mine")
    assert await Batcher(run, max_batch=1, concurrency=1)("a") == "nobody's"


async def test_a_run_that_is_cancelled_cancels_its_callers() -> None:
    async def run(_: Sequence[str]) -> Sequence[str]:
        raise asyncio.CancelledError

    results = await asyncio.gather(*call(Batcher(run, max_batch=9, concurrency=1), "a", "b"), return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2


def test_one_serves_several_event_loops() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        await asyncio.sleep(0)
        return list(items)

    batcher: Batcher[str, str] = Batcher(run, max_batch=1, concurrency=1, key=initial)
    ask: Callable[[str], Coroutine[Any, Any, str]] = batcher.__call__
    assert [asyncio.run(ask("a")), asyncio.run(ask("a"))] == ["a", "a"]


async def test_a_run_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def run(items: Sequence[str]) -> Sequence[str]:
        if "ends" in items:
            raise asyncio.CancelledError
        return list(items)

    calls = call(Batcher(run, max_batch=1, concurrency=1), "ends", "b")
    async with asyncio.timeout(60):
        assert await calls[1] == "b"
    assert calls[0].cancelled()


async def test_what_is_cancelled_alone_holds_up_nobody_of_its_key() -> None:
    async def cancelled() -> str:
        raise asyncio.CancelledError

    async def run(items: Sequence[str]) -> Sequence[Given]:
        return [Deferred(cancelled) if item == "a1" else item for item in items]

    calls = call(Batcher(run, max_batch=9, concurrency=1, key=initial), "a1", "a2")
    async with asyncio.timeout(60):
        assert await calls[1] == "a2"
    assert calls[0].cancelled()


@pytest.mark.parametrize("alone", [False, True])
async def test_a_run_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    monkeypatch.setattr(batching, "RUN_TIMEOUT", 0.01)

    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    async def run(items: Sequence[str]) -> Sequence[Given]:
        if "a1" in items:
            return [Deferred(hang)] if alone else [await hang()]
        return list(items)

    calls = call(Batcher(run, max_batch=1, concurrency=1, key=initial), "a1", "a2", "b")
    async with asyncio.timeout(60):
        with pytest.raises(DatabaseUnavailable):
            await calls[0]
        assert [await each for each in calls[1:]] == ["a2", "b"]

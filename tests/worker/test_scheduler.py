"""The loops: what is periodic runs once over all workers, a stop is clean, and nothing short of it ends them."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.database import create_engine, create_sessionmaker
from app.core.logging import LineFormatter
from app.interviews.interview_rows import InterviewRow, lock_row
from app.interviews.status_update import lock_interview
from app.lifecycle import Status
from app.worker import WorkerContext, scheduler
from app.worker.runner import run_alone, running_worker
from app.worker.scheduler import Periodic, run_scheduler, schedule_missing_deadlines
from tests.conftest import make_settings
from tests.e2e.conditions import HOPELESS, eventually
from tests.e2e.processes import Process, free_port
from tests.worker.world import World, ago


@asynccontextmanager
async def running_workers(*contexts: WorkerContext) -> AsyncIterator[None]:
    stop = asyncio.Event()
    running = [asyncio.create_task(run_scheduler(context, stop)) for context in contexts]
    try:
        yield
        assert not any(task.done() for task in running), "a worker ended by itself"
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*running), HOPELESS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL", 0.02)


async def becomes(world: World, interview_id: uuid.UUID, status: Status) -> None:
    async def has_become() -> bool:
        return (await world.row(interview_id)).status is status

    await eventually(has_become)


async def one_more_is_processed(world: World) -> None:
    """By then the loops have done what they would do at once."""
    interview_id = await world.new()
    await world.joins(interview_id, before=100)
    await becomes(world, interview_id, Status.FAILED)


async def test_due_interviews_are_processed(world: World) -> None:
    async with running_workers(world.context):
        await one_more_is_processed(world)


async def test_two_workers_decide_and_do_everything_once(world: World) -> None:
    world.dispatching()
    made = [await world.new() for _ in range(20)]
    for number, interview_id in enumerate(made):
        await world.joins(interview_id, before=32 if number % 2 else 100)
    async with running_workers(world.context, world.context):
        for number, interview_id in enumerate(made):
            if number % 2 == 0:
                await becomes(world, interview_id, Status.FAILED)
        await eventually(lambda: sum(map(len, world.stub.dispatches.values())) >= 10)
        await one_more_is_processed(world)
    for number, interview_id in enumerate(made):
        entries = await world.entries(interview_id)
        assert [entry.name for entry in entries].count("agent_missing") == (number % 2 == 0)
        assert [entry.name for entry in entries].count("agent_dispatched") == (number % 2)
    assert all(len(each) == 1 for each in world.stub.dispatches.values())


def count_polls(monkeypatch: pytest.MonkeyPatch, name: str) -> Callable[[], int]:
    """Return a counter of how often workers polled the task's tick."""
    polled: list[str] = []
    take = scheduler._take_tick  # noqa: SLF001 - to run it is what it leads to, and mostly it does not

    async def noted(context: WorkerContext, task: Periodic) -> bool:
        taken = await take(context, task)
        polled.append(task.name)
        return taken

    monkeypatch.setattr(scheduler, "_take_tick", noted)
    return lambda: polled.count(name)


async def test_a_periodic_task_runs_once_over_two_workers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    async def noted(_: WorkerContext) -> None:
        runs.append("reconcile")

    monkeypatch.setattr(scheduler, "reconcile", noted)
    polls = count_polls(monkeypatch, "reconcile")
    an_hour = replace(world.context, reconcile_every=timedelta(hours=1))
    for expected in (1, 2):
        enough = polls() + 10
        async with running_workers(an_hour, an_hour):
            await eventually(lambda: len(runs) == expected)  # noqa: B023 - called at once
            await eventually(lambda: polls() >= enough)  # noqa: B023
        assert len(runs) == expected
        async with world.sessions.begin() as session:
            await session.execute(text("UPDATE ticks SET last_run = last_run - interval '1 hour'"))


async def test_a_periodic_task_that_fails_is_tried_again(world: World) -> None:
    runs: list[int] = []

    async def failing(_: WorkerContext) -> None:
        runs.append(1)
        raise ValueError("of the test")

    stop = asyncio.Event()
    task = Periodic("sweep", timedelta(seconds=0), failing)
    running = asyncio.create_task(scheduler._repeat(world.context, task, stop))  # noqa: SLF001 - its period is of the test
    await eventually(lambda: len(runs) >= 3)
    stop.set()
    await running


async def test_a_stop_finishes_what_is_under_way(world: World) -> None:
    interview_id = await world.new()
    await world.joins(interview_id, before=100)
    stop, asked = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        asked.set()
        await asyncio.sleep(0.3)

    world.stub.before["ListParticipants"] = slowly
    running = asyncio.create_task(run_scheduler(world.context, stop))
    await asyncio.wait_for(asked.wait(), HOPELESS)
    stop.set()
    await asyncio.wait_for(running, HOPELESS)
    row = await world.row(interview_id)
    assert (row.status, row.leased_until) == (Status.FAILED, None)


async def test_a_livekit_that_hangs_does_not_hold_up_a_stop(world: World) -> None:
    for _ in range(10):
        await world.joins(await world.new(), before=100)
    world.livekit_is("slow")
    async with running_workers(world.context):
        await eventually(lambda: world.stub.calls.total())


async def test_a_poisoned_row_does_not_stop_the_others(world: World) -> None:
    for _ in range(scheduler.CONCURRENCY + 1):
        poisoned = await world.new()
        await world.alter(poisoned, max_duration=10**15, next_deadline_at=ago(500))
    healthy = await world.new()
    await world.joins(healthy, before=100)
    async with running_workers(world.context):
        await becomes(world, healthy, Status.FAILED)


async def test_the_database_away_for_a_moment(
    world: World, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.sessions() as session:
        name = str(await session.scalar(text("SELECT current_database()")))
    admin = await asyncpg.connect(postgres_url)
    try:
        async with running_workers(world.context):
            await one_more_is_processed(world)
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            await eventually(lambda: "deadlines are postponed" in caplog.text)
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await one_more_is_processed(world)
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


class TestMissingDeadlines:
    async def test_a_token_without_closes_at_gets_a_deadline(self, world: World) -> None:
        interview_id, other = await world.new(), await world.new()
        await world.gets_token(interview_id, before=100)
        await schedule_missing_deadlines(world.context)
        row = await world.row(interview_id)
        assert row.next_deadline_at
        assert (row.next_deadline_at - ago(100)) - world.timeouts.idle_timeout < (ago(0) - ago(5))
        assert (await world.row(other)).next_deadline_at is None

    async def test_those_that_get_none_do_not_keep_the_others_waiting(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scheduler, "MISSING_DEADLINES_BATCH", 2)
        for _ in range(4):
            refused = await world.new()
            async with world.sessions.begin() as session:
                await session.execute(
                    text(
                        "INSERT INTO join_requests (interview_id, attempt, at, answer) "
                        "VALUES (:id, 1, now(), 'too_early')"
                    ),
                    {"id": refused},
                )
        interview_id = await world.new()
        await world.gets_token(interview_id, before=100)
        await schedule_missing_deadlines(world.context)
        assert (await world.row(interview_id)).next_deadline_at

    async def test_a_locked_one_does_not_keep_the_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def lock_soon(connection: asyncpg.Connection, interview_id: uuid.UUID) -> InterviewRow | None:
            await connection.execute("SET LOCAL lock_timeout = '50ms'")
            return await lock_row(connection, interview_id)

        monkeypatch.setattr(scheduler, "lock_row", lock_soon)
        made = [await world.new() for _ in range(3)]
        for each in made:
            await world.gets_token(each, before=100)
        held = made[0]
        async with world.sessions.begin() as other:
            await lock_interview(other, held)
            await schedule_missing_deadlines(world.context)
        assert [(await world.row(each)).next_deadline_at is None for each in made] == [True, False, False]
        assert f"the status of interview {held} could not be updated" in caplog.text


def test_sigterm_ends_a_worker_with_0(own_database: str, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": own_database,
        "JOIN_POLICY": "open",
        "LIVEKIT_URL": "ws://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "app.cli", "worker"]
    process = Process(command, env=environment, cwd=tmp_path, log=tmp_path / "log")
    process.start()
    try:
        process.wait_until(lambda: "worker started" in process.output, within=HOPELESS)
        process.send(signal.SIGTERM)
        assert process.wait(HOPELESS) == 0, process.output
    finally:
        process.kill()
    assert "Traceback" not in process.output


async def test_without_livekit_the_log_says_what_is_missing(
    own_engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a laptop where nobody started it."""
    port = free_port()
    async with running_worker(make_settings(livekit_url=f"ws://127.0.0.1:{port}"), create_sessionmaker(own_engine)):
        await eventually(lambda: "reconcile failed" in caplog.text)
    (line,) = [record for record in caplog.records if "reconcile failed" in record.getMessage()]
    text = LineFormatter().format(line)
    assert f"no connection to 127.0.0.1:{port}: Connection refused. Start LiveKit, or correct LIVEKIT_URL" in text
    assert "ssl:default" not in text


async def test_a_worker_alone_stops_on_sigint(own_database: str) -> None:
    engine = create_engine(own_database)
    settings = make_settings(livekit_url="ws://127.0.0.1:9")
    pytests = signal.getsignal(signal.SIGINT)
    running = asyncio.create_task(run_alone(settings, create_sessionmaker(engine)))
    await eventually(lambda: signal.getsignal(signal.SIGINT) is not pytests)  # before, it would end the tests
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(running, HOPELESS)
    await engine.dispose()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)

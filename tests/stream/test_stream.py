"""The stream: each change once and in order, in spite of disconnects, slow clients and open transactions."""

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from sqlalchemy import event, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from app.auth.api_keys import Scope, hash_key
from app.core.database import create_engine, create_sessionmaker
from app.core.settings import Settings
from app.main import create_app
from app.models import ApiKey, Change
from app.stream.feed import Position
from app.stream.hub import Hub
from app.stream.notifications import APPLICATION_NAME
from tests.conftest import AUTHORIZED, client_of
from tests.e2e.conditions import eventually
from tests.feed import Sessions, add_key, another_organization, change, new_interview, organization_of, record
from tests.interview_driver import RealTime
from tests.stream_client import Event, StreamClient

NEVER = 3600.0  # seconds

Make = Callable[..., FastAPI]


@pytest.fixture
def committed(own_engine: AsyncEngine) -> Sessions:
    return create_sessionmaker(own_engine)


@pytest.fixture
async def make(own_engine: AsyncEngine, committed: Sessions, settings: Settings) -> AsyncIterator[Make]:
    """Create apps whose hubs only poll."""
    hubs: list[Hub] = []

    def make_app(**options: float) -> FastAPI:
        hubs.append(Hub(committed, **{"poll": 0.02, **options}))  # type: ignore[arg-type] # queue and page are whole
        return create_app(settings, committed, hub=hubs[-1])

    yield make_app
    for hub in hubs:
        await hub.stop()


@pytest.fixture
async def interview(committed: Sessions) -> uuid.UUID:
    return await new_interview(committed, await organization_of(committed))


@asynccontextmanager
async def notified_app(committed: Sessions, settings: Settings, url: str) -> AsyncIterator[FastAPI]:
    """Yield an app that listens to notifications and never polls."""
    hub = Hub(committed, poll=NEVER)
    async with hub.running(url):
        await eventually(lambda: notification_backend(url))
        yield create_app(settings, committed, hub=hub)


async def notification_backend(url: str) -> int | None:
    """Return the process id of the backend that has executed LISTEN, or None."""
    connection = await asyncpg.connect(url)
    try:
        query = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1
            AND state = 'idle' AND query <> ''"""
        found: int | None = await connection.fetchval(query, APPLICATION_NAME)
        return found
    finally:
        await connection.close()


def in_order(events: list[Event]) -> bool:
    """Return whether positions increase, and each interview's sequence counts from 1 without a gap."""
    positions = [Position.parse(each.id) for each in events]
    sequences = defaultdict(list)
    for each in events:
        interview_id, sequence = each.interview_and_sequence
        sequences[interview_id].append(sequence)
    return positions == sorted(set(positions)) and all(
        each == list(range(1, len(each) + 1)) for each in sequences.values()
    )


async def test_a_change_is_a_server_sent_event(make: Make, committed: Sessions, interview: uuid.UUID) -> None:
    async with StreamClient(make()) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        ready = await stream.next()
        assert (ready.type, ready.data, ready.retry) == ("ready", {}, "2000")
        await change(committed, interview)
        event = await stream.next()
    assert event.type == "interview.updated"
    assert Position.parse(event.id) > Position.parse(ready.id)
    assert event.data["data"] == {
        "interviewId": str(interview),
        "status": "READY_TO_JOIN",
        "previousStatus": "READY_TO_JOIN",
        "endReason": None,
        "attempt": 1,
        "sequence": 1,
    }


async def test_calls_and_livekit_events_are_streamed(make: Make) -> None:
    app = make()
    async with StreamClient(app) as stream, client_of(app) as client:
        driver = RealTime(app, client)
        await driver.talk(await driver.new())
        events = [(each.type, each.data["data"]["status"]) for each in await stream.changes(3)]
    assert events == [
        ("interview.scheduled", "READY_TO_JOIN"),
        ("interview.status_changed", "WAITING_FOR_AGENT"),
        ("interview.status_changed", "IN_PROGRESS"),
    ]


async def test_a_client_that_disconnects_before_the_first_change_misses_nothing(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make()
    async with StreamClient(app) as stream:
        start = (await stream.next()).id
    await change(committed, interview)
    async with StreamClient(app, after=start) as stream:
        assert [each.interview_and_sequence[1] for each in await stream.changes(1)] == [1]


async def test_the_header_takes_precedence_over_the_query(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make()
    async with StreamClient(app) as stream:
        start = (await stream.next()).id
        for _ in range(2):
            await change(committed, interview)
        first, _ = await stream.changes(2)
    async with StreamClient(app, query=f"lastEventId={start}") as stream:
        assert [each.interview_and_sequence[1] for each in await stream.changes(2)] == [1, 2]
    async with StreamClient(app, after=first.id, query=f"lastEventId={start}") as stream:
        assert [each.interview_and_sequence[1] for each in await stream.changes(1)] == [2]


async def write_all(committed: Sessions, interviews: list[uuid.UUID], made: list[uuid.UUID]) -> None:
    """Record a thousand changes, four at a time."""

    async def write() -> None:
        for _ in range(250):
            interview = random.choice(interviews)  # noqa: S311 - no secret
            await change(committed, interview)
            made.append(interview)

    await asyncio.gather(*(write() for _ in range(4)))


def has(made: list[uuid.UUID], enough: int) -> bool:
    return len(made) >= enough


async def hold_transactions_open(committed: Sessions, interview: uuid.UUID, made: list[uuid.UUID]) -> None:
    """Eight times, record a change and keep its transaction open while the others go on."""
    for _ in range(8):
        async with committed.begin() as session:
            await record(session, interview)
            enough = min(len(made) + 60, 1000)
            await eventually(partial(has, made, enough))


async def read_all(app: FastAPI, *, start: str, until: int) -> list[Event]:
    """Read the stream, disconnect at random fifty times and resume with the last id; then read to the end."""
    received: list[Event] = []
    for cut in [random.randint(0, 2 * until // 60) for _ in range(50)] + [until]:  # noqa: S311 - no secret
        async with StreamClient(app, after=received[-1].id if received else start) as stream:
            received += await stream.changes(min(cut, until - len(received)))
    return received


@pytest.mark.slow
@pytest.mark.parametrize("with_open_transactions", [False, True], ids=["", "with open transactions"])
async def test_a_client_that_reconnects_fifty_times_gets_a_thousand_changes_once_and_in_order(
    make: Make, committed: Sessions, with_open_transactions: bool
) -> None:
    organization = await organization_of(committed)
    interviews = [await new_interview(committed, organization) for _ in range(10)]
    late = await new_interview(committed, organization)
    app = make(page=20)
    async with StreamClient(app) as stream:
        start = (await stream.next()).id
    made: list[uuid.UUID] = []
    reading = asyncio.create_task(read_all(app, start=start, until=1008 if with_open_transactions else 1000))
    holding = hold_transactions_open(committed, late, made) if with_open_transactions else asyncio.sleep(0)
    await asyncio.gather(write_all(committed, interviews, made), holding)
    received = await reading
    assert in_order(received)
    async with committed() as session:
        changes = (await session.scalars(select(Change).order_by(Change.xid, Change.id))).all()
    assert [each.interview_and_sequence for each in received] == [
        (str(each.interview_id), each.sequence) for each in changes
    ]


async def test_changes_sent_to_others_during_a_catch_up_are_not_skipped(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make()
    async with StreamClient(app) as other:
        start = (await other.next()).id
        await change(committed, interview)
        await other.changes(1)
        async with StreamClient(app, after=start) as stream:
            stream.takes.clear()
            await stream.blocks.wait()  # it has read what there was, and writes it
            await change(committed, interview)
            await other.changes(1)
            stream.takes.set()
            await change(committed, interview)
            assert [each.interview_and_sequence[1] for each in await stream.changes(3)] == [1, 2, 3]


async def test_held_back_changes_come_without_another_notification(
    committed: Sessions, settings: Settings, own_engine: AsyncEngine, own_database: str, interview: uuid.UUID
) -> None:
    readings: list[str] = []

    def count(_c: object, _u: object, statement: str, _p: object, _x: object, _m: object) -> None:
        if "LIMIT" in statement:
            readings.append(statement)

    event.listen(own_engine.sync_engine, "before_cursor_execute", count)
    late = await new_interview(committed, await organization_of(committed))
    async with notified_app(committed, settings, own_database) as app, StreamClient(app) as stream:
        async with committed.begin() as open_one:
            await open_one.execute(select(func.pg_current_xact_id()))
            await change(committed, late)
            await change(committed, interview)
            enough = len(readings) + 4  # more than there are notifications
            await eventually(lambda: len(readings) >= enough)
        assert [each.interview_and_sequence for each in await stream.changes(2)] == [
            (str(late), 1),
            (str(interview), 1),
        ]


async def test_changes_of_another_process_are_streamed(
    committed: Sessions, settings: Settings, own_database: str, interview: uuid.UUID
) -> None:
    """Two hubs on two engines stand for two processes, which share only Postgres."""
    other = create_engine(own_database)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.dispose)
        apps = [
            await stack.enter_async_context(notified_app(sessions, settings, own_database))
            for sessions in (committed, create_sessionmaker(other))
        ]
        both = [await stack.enter_async_context(StreamClient(app)) for app in apps]
        for sessions in (committed, create_sessionmaker(other)):
            await change(sessions, interview)
        for stream in both:
            assert [each.interview_and_sequence[1] for each in await stream.changes(2)] == [1, 2]


async def test_a_lost_notification_connection_is_reopened(
    committed: Sessions, settings: Settings, own_database: str, interview: uuid.UUID
) -> None:
    async with notified_app(committed, settings, own_database) as app, StreamClient(app) as stream:
        await change(committed, interview)
        await stream.changes(1)
        first = await notification_backend(own_database)
        async with committed() as session:
            await session.execute(select(func.pg_terminate_backend(first)))
        await change(
            committed, interview
        )  # event by the reading that follows the new connection, or by its notification
        assert (await stream.changes(1))[0].interview_and_sequence[1] == 2
        await eventually(lambda: notification_backend(own_database))
        await change(committed, interview)
        assert (await stream.changes(1))[0].interview_and_sequence[1] == 3
        assert await notification_backend(own_database) != first


async def test_without_notifications_the_database_is_polled(
    committed: Sessions, settings: Settings, interview: uuid.UUID
) -> None:
    hub = Hub(committed, poll=0.02)
    app = create_app(settings, committed, hub=hub)
    async with hub.running("postgresql://nobody@127.0.0.1:1/none"), StreamClient(app) as stream:
        await change(committed, interview)
        await stream.changes(1)


async def test_streams_survive_a_database_outage(
    make: Make, committed: Sessions, own_database: str, interview: uuid.UUID
) -> None:
    async with StreamClient(make()) as stream:
        await change(committed, interview)
        await stream.changes(1)
        admin = await asyncpg.connect(own_database)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await admin.close()
        await eventually(lambda: try_to_change(committed, interview))
        assert (await stream.changes(1))[0].interview_and_sequence[1] == 2


async def try_to_change(committed: Sessions, interview: uuid.UUID) -> bool:
    try:
        await change(committed, interview)
    except DBAPIError:
        return False
    return True


async def test_a_slow_client_is_dropped_and_the_others_get_everything(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make(queue=3)
    dropped = REGISTRY.get_sample_value("interviews_streams_dropped_total") or 0
    async with StreamClient(app) as slow, StreamClient(app) as quick:
        start = (await slow.next()).id
        slow.takes.clear()
        for sequence in range(1, 11):
            await change(committed, interview)
            assert [each.interview_and_sequence[1] for each in await quick.changes(1)] == [sequence]
        await slow.task
        assert REGISTRY.get_sample_value("interviews_streams_dropped_total") == dropped + 1
    async with StreamClient(app, after=start) as back:
        assert [each.interview_and_sequence[1] for each in await back.changes(10)] == list(range(1, 11))


@pytest.mark.slow
async def test_a_thousand_clients_get_each_change(make: Make, committed: Sessions, interview: uuid.UUID) -> None:
    app = make()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(StreamClient(app)) for _ in range(1000)]
        for _ in range(5):
            await change(committed, interview)
        received = await asyncio.gather(*(stream.changes(5) for stream in clients))
        assert REGISTRY.get_sample_value("interviews_stream_listeners") == 1000
    assert all([each.interview_and_sequence[1] for each in events] == [1, 2, 3, 4, 5] for events in received)
    assert REGISTRY.get_sample_value("interviews_stream_listeners") == 0


async def test_another_organizations_changes_are_not_streamed(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    other = await another_organization(committed)
    await add_key(committed, other, "ik_other")
    theirs = await new_interview(committed, other)
    app = make()
    async with StreamClient(app) as stream, StreamClient(app, key="ik_other") as other_one:
        start = (await stream.next()).id
        for _ in range(3):
            await change(committed, theirs)
            await change(committed, interview)
        assert {each.interview_and_sequence[0] for each in await stream.changes(3)} == {str(interview)}
        assert {each.interview_and_sequence[0] for each in await other_one.changes(3)} == {str(theirs)}
    async with StreamClient(app, key="ik_other", after=start) as other_one:
        assert {each.interview_and_sequence[0] for each in await other_one.changes(3)} == {str(theirs)}


async def test_comments_keep_an_idle_stream_open(make: Make) -> None:
    async with StreamClient(make(heartbeat=0.01)) as stream:
        assert (await stream.next()).type == "ready"
        for _ in range(3):
            assert (await stream.next(comments=True)).comment.startswith(":")


async def test_an_open_stream_holds_no_connection_to_the_database(
    make: Make, own_engine: AsyncEngine, committed: Sessions, interview: uuid.UUID
) -> None:
    pool = own_engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    async with StreamClient(make(poll=NEVER)) as stream:
        await stream.next()
        await eventually(lambda: pool.checkedout() == 0)


async def test_a_revoked_keys_stream_ends(make: Make, committed: Sessions) -> None:
    await add_key(committed, await organization_of(committed), "ik_short_lived")
    app = make(heartbeat=0.01)
    async with StreamClient(app) as staying, StreamClient(app, key="ik_short_lived") as stream:
        await stream.next()
        async with committed.begin() as session:
            revoked = update(ApiKey).where(ApiKey.key_hash == hash_key("ik_short_lived"))
            await session.execute(revoked.values(revoked_at=func.now()))
        with pytest.raises(EOFError):
            await stream.next()
        assert (await staying.next()).type == "ready"
        assert (await staying.next(comments=True)).comment


async def test_closing_the_hub_ends_the_streams(committed: Sessions, settings: Settings) -> None:
    hub = Hub(committed)
    app = create_app(settings, committed, hub=hub)
    async with StreamClient(app) as stream:
        await stream.next()
        hub.close()
        with pytest.raises(EOFError):
            await stream.next()
        await stream.task
    async with StreamClient(app) as late:
        assert (await late.next()).type == "ready"
        with pytest.raises(EOFError):
            await late.next()


@pytest.mark.parametrize("given", ["nonsense", "1", "1-1-1", f"{2**62}-1"])
async def test_invalid_positions_are_refused(client: httpx.AsyncClient, given: str) -> None:
    by_header = {"Last-Event-ID": given}
    for answer in (
        await client.get("/interviews/stream", headers=AUTHORIZED | by_header),
        await client.get("/interviews/stream", headers=AUTHORIZED, params={"lastEventId": given}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
        assert "to begin with what changes from now on" in answer.json()["detail"]


async def test_streaming_needs_a_valid_key_and_the_read_scope(make: Make, committed: Sessions) -> None:
    await add_key(committed, await organization_of(committed), "ik_agent", Scope.AGENT)
    async with StreamClient(make(), key="ik_agent") as stream:
        assert (stream.status, (await stream.body())["code"]) == (403, "missing_scope")
    async with StreamClient(make(), key="ik_unknown") as stream:
        assert (stream.status, (await stream.body())["code"]) == (401, "unauthorized")

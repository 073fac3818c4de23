"""The stream: each change once and in order, whoever is cut off, too slow or held up."""

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
from tests.listening import Event, Listening

NEVER = 3600.0  # seconds

Make = Callable[..., FastAPI]


@pytest.fixture
def committed(own_engine: AsyncEngine) -> Sessions:
    return create_sessionmaker(own_engine)


@pytest.fixture
async def make(own_engine: AsyncEngine, committed: Sessions, settings: Settings) -> AsyncIterator[Make]:
    """Make apps whose hubs nobody runs: they poll."""
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
async def prompt_app(committed: Sessions, settings: Settings, url: str) -> AsyncIterator[FastAPI]:
    """An app that only notifications wake, once it listens."""
    hub = Hub(committed, poll=NEVER)
    async with hub.running(url):
        await eventually(lambda: listening_backend(url))
        yield create_app(settings, committed, hub=hub)


async def listening_backend(url: str) -> int | None:
    """Return the process id of the backend that has executed LISTEN; later it is asked whether it is still there."""
    connection = await asyncpg.connect(url)
    try:
        query = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1
            AND state = 'idle' AND query <> ''"""
        found: int | None = await connection.fetchval(query, APPLICATION_NAME)
        return found
    finally:
        await connection.close()


def in_order(events: list[Event]) -> bool:
    """Tell whether each is after the one before, and each interview's sequence counts from 1 without a gap."""
    positions = [Position.parse(each.id) for each in events]
    sequences = defaultdict(list)
    for each in events:
        interview_id, sequence = each.told
        sequences[interview_id].append(sequence)
    return positions == sorted(set(positions)) and all(
        told == list(range(1, len(told) + 1)) for told in sequences.values()
    )


async def test_a_change_comes_as_a_server_sent_event(make: Make, committed: Sessions, interview: uuid.UUID) -> None:
    async with Listening(make()) as listening:
        assert listening.status == 200
        assert listening.headers["content-type"].startswith("text/event-stream")
        assert listening.headers["cache-control"] == "no-store"
        assert listening.headers["x-accel-buffering"] == "no"
        ready = await listening.next()
        assert (ready.type, ready.data, ready.retry) == ("ready", {}, "2000")
        await change(committed, interview)
        told = await listening.next()
    assert told.type == "interview.updated"
    assert Position.parse(told.id) > Position.parse(ready.id)
    assert told.data["data"] == {
        "interviewId": str(interview),
        "status": "READY_TO_JOIN",
        "previousStatus": "READY_TO_JOIN",
        "endReason": None,
        "attempt": 1,
        "sequence": 1,
    }


async def test_what_platform_candidate_and_livekit_do_is_told(make: Make) -> None:
    app = make()
    async with Listening(app) as listening, client_of(app) as client:
        driver = RealTime(app, client)
        await driver.talk(await driver.new())
        told = [(each.type, each.data["data"]["status"]) for each in await listening.changes(3)]
    assert told == [
        ("interview.scheduled", "READY_TO_JOIN"),
        ("interview.status_changed", "WAITING_FOR_AGENT"),
        ("interview.status_changed", "IN_PROGRESS"),
    ]


async def test_one_that_is_cut_off_before_the_first_change_misses_nothing(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make()
    async with Listening(app) as listening:
        begun = (await listening.next()).id
    await change(committed, interview)
    async with Listening(app, after=begun) as listening:
        assert [each.told[1] for each in await listening.changes(1)] == [1]


async def test_the_header_goes_before_the_query(make: Make, committed: Sessions, interview: uuid.UUID) -> None:
    app = make()
    async with Listening(app) as listening:
        begun = (await listening.next()).id
        for _ in range(2):
            await change(committed, interview)
        first, _ = await listening.changes(2)
    async with Listening(app, query=f"lastEventId={begun}") as listening:
        assert [each.told[1] for each in await listening.changes(2)] == [1, 2]
    async with Listening(app, after=first.id, query=f"lastEventId={begun}") as listening:
        assert [each.told[1] for each in await listening.changes(1)] == [2]


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


async def hold_up(committed: Sessions, interview: uuid.UUID, made: list[uuid.UUID]) -> None:
    """Record a change and leave its transaction open while the others go on, eight times."""
    for _ in range(8):
        async with committed.begin() as session:
            await record(session, interview)
            enough = min(len(made) + 60, 1000)
            await eventually(partial(has, made, enough))


async def hear_all(app: FastAPI, *, begun: str, until: int) -> list[Event]:
    """Listen, hang up at random fifty times, come back with the last id; at last hear all that there are."""
    heard: list[Event] = []
    for cut in [random.randint(0, 2 * until // 60) for _ in range(50)] + [until]:  # noqa: S311 - no secret
        async with Listening(app, after=heard[-1].id if heard else begun) as listening:
            heard += await listening.changes(min(cut, until - len(heard)))
    return heard


@pytest.mark.slow
@pytest.mark.parametrize("is_held_up", [False, True], ids=["", "held up"])
async def test_a_listener_cut_off_fifty_times_in_a_thousand_changes_has_each_once_and_in_order(
    make: Make, committed: Sessions, is_held_up: bool
) -> None:
    organization = await organization_of(committed)
    interviews = [await new_interview(committed, organization) for _ in range(10)]
    late = await new_interview(committed, organization)
    app = make(page=20)
    async with Listening(app) as listening:
        begun = (await listening.next()).id
    made: list[uuid.UUID] = []
    hearing = asyncio.create_task(hear_all(app, begun=begun, until=1008 if is_held_up else 1000))
    holding_up = hold_up(committed, late, made) if is_held_up else asyncio.sleep(0)
    await asyncio.gather(write_all(committed, interviews, made), holding_up)
    heard = await hearing
    assert in_order(heard)
    async with committed() as session:
        changes = (await session.scalars(select(Change).order_by(Change.xid, Change.id))).all()
    assert [each.told for each in heard] == [(str(each.interview_id), each.sequence) for each in changes]


async def test_what_others_are_told_while_one_catches_up_is_not_passed_over(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make()
    async with Listening(app) as other:
        begun = (await other.next()).id
        await change(committed, interview)
        await other.changes(1)
        async with Listening(app, after=begun) as listening:
            listening.takes.clear()
            await listening.blocks.wait()  # it has read what there was, and writes it
            await change(committed, interview)
            await other.changes(1)
            listening.takes.set()
            await change(committed, interview)
            assert [each.told[1] for each in await listening.changes(3)] == [1, 2, 3]


async def test_what_a_transaction_held_up_comes_without_another_notification(
    committed: Sessions, settings: Settings, own_engine: AsyncEngine, own_database: str, interview: uuid.UUID
) -> None:
    readings: list[str] = []

    def count(_c: object, _u: object, statement: str, _p: object, _x: object, _m: object) -> None:
        if "LIMIT" in statement:
            readings.append(statement)

    event.listen(own_engine.sync_engine, "before_cursor_execute", count)
    late = await new_interview(committed, await organization_of(committed))
    async with prompt_app(committed, settings, own_database) as app, Listening(app) as listening:
        async with committed.begin() as open_one:
            await open_one.execute(select(func.pg_current_xact_id()))
            await change(committed, late)
            await change(committed, interview)
            enough = len(readings) + 4  # more than there are notifications
            await eventually(lambda: len(readings) >= enough)
        assert [each.told for each in await listening.changes(2)] == [(str(late), 1), (str(interview), 1)]


async def test_what_another_process_changes_is_told(
    committed: Sessions, settings: Settings, own_database: str, interview: uuid.UUID
) -> None:
    """Two hubs on two engines stand for two processes: they share nothing but Postgres."""
    other = create_engine(own_database)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(other.dispose)
        apps = [
            await stack.enter_async_context(prompt_app(sessions, settings, own_database))
            for sessions in (committed, create_sessionmaker(other))
        ]
        both = [await stack.enter_async_context(Listening(app)) for app in apps]
        for sessions in (committed, create_sessionmaker(other)):
            await change(sessions, interview)
        for listening in both:
            assert [each.told[1] for each in await listening.changes(2)] == [1, 2]


async def test_a_lost_connection_for_notifications_is_made_again(
    committed: Sessions, settings: Settings, own_database: str, interview: uuid.UUID
) -> None:
    async with prompt_app(committed, settings, own_database) as app, Listening(app) as listening:
        await change(committed, interview)
        await listening.changes(1)
        first = await listening_backend(own_database)
        async with committed() as session:
            await session.execute(select(func.pg_terminate_backend(first)))
        await change(
            committed, interview
        )  # told by the reading that follows the new connection, or by its notification
        assert (await listening.changes(1))[0].told[1] == 2
        await eventually(lambda: listening_backend(own_database))
        await change(committed, interview)
        assert (await listening.changes(1))[0].told[1] == 3
        assert await listening_backend(own_database) != first


async def test_a_database_that_cannot_be_listened_to_is_polled(
    committed: Sessions, settings: Settings, interview: uuid.UUID
) -> None:
    hub = Hub(committed, poll=0.02)
    app = create_app(settings, committed, hub=hub)
    async with hub.running("postgresql://nobody@127.0.0.1:1/none"), Listening(app) as listening:
        await change(committed, interview)
        await listening.changes(1)


async def test_streams_live_through_an_outage_of_the_database(
    make: Make, committed: Sessions, own_database: str, interview: uuid.UUID
) -> None:
    async with Listening(make()) as listening:
        await change(committed, interview)
        await listening.changes(1)
        admin = await asyncpg.connect(own_database)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await admin.close()
        await eventually(lambda: try_to_change(committed, interview))
        assert (await listening.changes(1))[0].told[1] == 2


async def try_to_change(committed: Sessions, interview: uuid.UUID) -> bool:
    try:
        await change(committed, interview)
    except DBAPIError:
        return False
    return True


async def test_a_slow_listener_is_dropped_and_the_others_have_everything(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    app = make(queue=3)
    dropped = REGISTRY.get_sample_value("interviews_streams_dropped_total") or 0
    async with Listening(app) as slow, Listening(app) as quick:
        begun = (await slow.next()).id
        slow.takes.clear()
        for sequence in range(1, 11):
            await change(committed, interview)
            assert [each.told[1] for each in await quick.changes(1)] == [sequence]
        await slow.task
        assert REGISTRY.get_sample_value("interviews_streams_dropped_total") == dropped + 1
    async with Listening(app, after=begun) as back:
        assert [each.told[1] for each in await back.changes(10)] == list(range(1, 11))


@pytest.mark.slow
async def test_a_thousand_listeners_have_each_change(make: Make, committed: Sessions, interview: uuid.UUID) -> None:
    app = make()
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(Listening(app)) for _ in range(1000)]
        for _ in range(5):
            await change(committed, interview)
        heard = await asyncio.gather(*(listening.changes(5) for listening in listeners))
        assert REGISTRY.get_sample_value("interviews_stream_listeners") == 1000
    assert all([each.told[1] for each in events] == [1, 2, 3, 4, 5] for events in heard)
    assert REGISTRY.get_sample_value("interviews_stream_listeners") == 0


async def test_another_organizations_changes_are_never_told(
    make: Make, committed: Sessions, interview: uuid.UUID
) -> None:
    other = await another_organization(committed)
    await add_key(committed, other, "ik_other")
    theirs = await new_interview(committed, other)
    app = make()
    async with Listening(app) as listening, Listening(app, key="ik_other") as other_one:
        begun = (await listening.next()).id
        for _ in range(3):
            await change(committed, theirs)
            await change(committed, interview)
        assert {each.told[0] for each in await listening.changes(3)} == {str(interview)}
        assert {each.told[0] for each in await other_one.changes(3)} == {str(theirs)}
    async with Listening(app, key="ik_other", after=begun) as other_one:
        assert {each.told[0] for each in await other_one.changes(3)} == {str(theirs)}


async def test_a_quiet_stream_is_kept_open_by_comments(make: Make) -> None:
    async with Listening(make(heartbeat=0.01)) as listening:
        assert (await listening.next()).type == "ready"
        for _ in range(3):
            assert (await listening.next(comments=True)).comment.startswith(":")


async def test_an_open_stream_holds_no_connection_to_the_database(
    make: Make, own_engine: AsyncEngine, committed: Sessions, interview: uuid.UUID
) -> None:
    pool = own_engine.sync_engine.pool
    assert isinstance(pool, QueuePool)
    async with Listening(make(poll=NEVER)) as listening:
        await listening.next()
        await eventually(lambda: pool.checkedout() == 0)


async def test_a_revoked_keys_stream_ends(make: Make, committed: Sessions) -> None:
    await add_key(committed, await organization_of(committed), "ik_short_lived")
    app = make(heartbeat=0.01)
    async with Listening(app) as staying, Listening(app, key="ik_short_lived") as listening:
        await listening.next()
        async with committed.begin() as session:
            revoked = update(ApiKey).where(ApiKey.key_hash == hash_key("ik_short_lived"))
            await session.execute(revoked.values(revoked_at=func.now()))
        with pytest.raises(EOFError):
            await listening.next()
        assert (await staying.next()).type == "ready"
        assert (await staying.next(comments=True)).comment


async def test_the_end_of_the_service_ends_the_streams(committed: Sessions, settings: Settings) -> None:
    hub = Hub(committed)
    app = create_app(settings, committed, hub=hub)
    async with Listening(app) as listening:
        await listening.next()
        hub.close()
        with pytest.raises(EOFError):
            await listening.next()
        await listening.task
    async with Listening(app) as late:
        assert (await late.next()).type == "ready"
        with pytest.raises(EOFError):
            await late.next()


@pytest.mark.parametrize("given", ["nonsense", "1", "1-1-1", f"{2**62}-1"])
async def test_a_position_that_is_none(client: httpx.AsyncClient, given: str) -> None:
    by_header = {"Last-Event-ID": given}
    for answer in (
        await client.get("/interviews/stream", headers=AUTHORIZED | by_header),
        await client.get("/interviews/stream", headers=AUTHORIZED, params={"lastEventId": given}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
        assert "to begin with what changes from now on" in answer.json()["detail"]


async def test_who_may_not_listen(make: Make, committed: Sessions) -> None:
    await add_key(committed, await organization_of(committed), "ik_agent", Scope.AGENT)
    async with Listening(make(), key="ik_agent") as listening:
        assert (listening.status, (await listening.body())["code"]) == (403, "missing_scope")
    async with Listening(make(), key="ik_unknown") as listening:
        assert (listening.status, (await listening.body())["code"]) == (401, "unauthorized")

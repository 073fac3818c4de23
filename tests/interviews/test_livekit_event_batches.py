"""Concurrent webhooks on committed rows: a batch is one transaction, and one bad event does not fail the others."""

import asyncio
import dataclasses
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import event as of_sqlalchemy
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.batching import Batcher
from app.core.database import create_engine, create_sessionmaker, transaction
from app.core.settings import Settings
from app.interviews.livekit_events import RoomEvent, WebhookResult, event_batcher, record_webhook
from app.interviews.status_update import lock_interview
from app.lifecycle import Timeouts
from app.livekit.rooms import room_name
from app.livekit.webhooks import Event, parse_event
from app.main import create_app
from app.models import Interview, Organization, TimelineEntry
from app.worker.audit import audit
from tests import livekit_webhooks
from tests.conftest import client_of

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
CANDIDATE, AGENT = "candidate-c", "agent-AJ_1"
Sessions = async_sessionmaker[AsyncSession]


@dataclasses.dataclass
class Replica:
    """One process of the service, which records webhooks."""

    sessions: Sessions
    batcher: Batcher[RoomEvent, WebhookResult]

    async def deliver(self, *events: Event) -> list[WebhookResult | BaseException]:
        """Deliver all the events at the same time, so that they share batches."""
        return await asyncio.gather(*map(self.deliver_one, events), return_exceptions=True)

    async def deliver_one(self, event: Event) -> WebhookResult:
        return await record_webhook(self.sessions, self.batcher, event=event, now=datetime.now(UTC))


def replica_on(engine: AsyncEngine) -> Replica:
    sessions = create_sessionmaker(engine)
    return Replica(sessions, event_batcher(sessions, timeouts=Timeouts(), agent_name=""))


@pytest.fixture
def replica(own_engine: AsyncEngine) -> Replica:
    return replica_on(own_engine)


@pytest.fixture
async def other_replica(own_database: str) -> AsyncIterator[Replica]:
    engine = create_engine(own_database)
    yield replica_on(engine)
    await engine.dispose()


async def new_interviews(sessions: Sessions, count: int) -> list[uuid.UUID]:
    """Create interviews; return their ids."""
    async with sessions.begin() as session:
        organization = (await session.scalars(select(Organization))).one()
        texts = dict.fromkeys(("participant_name", "phone_number", "job_title", "company_name", "instructions"), "x")
        interviews = [
            Interview(
                organization_id=organization.id,
                candidate_id="c",
                application_id="a",
                job_post_id="j",
                max_duration=1800,
                **texts,
            )
            for _ in range(count)
        ]
        session.add_all(interviews)
        await session.flush()
        return [each.id for each in interviews]


def room_event(interview: uuid.UUID, name: str, at: float, who: dict[str, Any] | None = None) -> Event:
    """Return an event of the interview's room, `at` seconds after the beginning."""
    event = livekit_webhooks.event(
        name,
        room=room_name(interview, 1),
        room_sid=f"RM_{interview.hex[:8]}",
        at=BEGAN + timedelta(seconds=at),
        room_created_at=BEGAN,
        participant=who,
    )
    return parse_event(livekit_webhooks.encode(event))


def joined(interview: uuid.UUID, identity: str = CANDIDATE, at: float = 1, sid: str = "") -> Event:
    return room_event(interview, "participant_joined", at, participant(identity, at, sid))


def left(interview: uuid.UUID, identity: str, at: float, *, since: float, sid: str = "", outcome: str = "") -> Event:
    who = participant(identity, since, sid, reason="CLIENT_INITIATED")
    who |= {"attributes": {"interview.outcome": outcome}} if outcome else {}
    return room_event(interview, "participant_left", at, who)


def participant(identity: str, since: float, sid: str, reason: str = "") -> dict[str, Any]:
    kind = "AGENT" if identity == AGENT else "STANDARD"
    joined_at = BEGAN + timedelta(seconds=since)
    return livekit_webhooks.participant(
        sid or f"PA_{identity}", identity, joined_at=joined_at, kind=kind, reason=reason
    )


def conversation(interview: uuid.UUID) -> list[Event]:
    """Return the events of a conversation: the candidate reconnects once, the agent reports, the room ends."""
    return [
        room_event(interview, "room_started", 0),
        joined(interview, CANDIDATE, 1),
        joined(interview, AGENT, 2),
        left(interview, CANDIDATE, 20, since=1),
        joined(interview, CANDIDATE, 25, sid="PA_2"),
        left(interview, AGENT, 60, since=2, outcome="completed"),
        left(interview, CANDIDATE, 62, since=25, sid="PA_2"),
        room_event(interview, "room_finished", 70),
    ]


async def statuses(sessions: Sessions) -> dict[uuid.UUID, str]:
    async with sessions() as session:
        return {row.id: row.status for row in await session.execute(select(Interview.id, Interview.status))}


async def timeline_event_ids(sessions: Sessions, interview: uuid.UUID) -> list[str | None]:
    """Return the ids of LiveKit's events on the interview's timeline, in order."""
    query = select(TimelineEntry.livekit_event_id).where(
        TimelineEntry.interview_id == interview, TimelineEntry.kind == "livekit"
    )
    async with sessions() as session:
        return list(await session.scalars(query.order_by(TimelineEntry.id)))


async def differences(sessions: Sessions) -> list[object]:
    return [each async for batch in audit(sessions, timeouts=Timeouts()) for each in batch.differences]


NOT_COUNTED = ("BEGIN;", "COMMIT;", "ROLLBACK;", ";")  # a transaction, and the ping of an idle connection


def statement_counter(engine: AsyncEngine) -> Callable[[], int]:
    """Return a function that returns how many statements the engine has executed since its last call."""
    executed: list[str] = []

    def keep(logged: LoggedQuery) -> None:
        executed.extend({logged.query} - {*NOT_COUNTED})

    def since() -> int:
        count = len(executed)
        executed.clear()
        return count

    of_sqlalchemy.listen(
        engine.sync_engine, "checkout", lambda connection, *_: connection.driver_connection.add_query_logger(keep)
    )
    return since


async def test_a_batch_takes_as_many_statements_as_one_event(own_engine: AsyncEngine, replica: Replica) -> None:
    ids = await new_interviews(replica.sessions, 42)
    await replica.deliver(joined(ids[0]))  # asyncpg queries types first on a new connection
    executed = statement_counter(own_engine)
    assert await replica.deliver(joined(ids[1])) == [WebhookResult.RECORDED]
    for_one = executed()
    assert await replica.deliver(*map(joined, ids[2:])) == [WebhookResult.RECORDED] * 40
    assert executed() == for_one == 6
    assert set((await statuses(replica.sessions)).values()) == {"WAITING_FOR_AGENT"}


async def test_ignored_events_take_no_statement(own_engine: AsyncEngine, replica: Replica) -> None:
    (known,) = await new_interviews(replica.sessions, 1)
    await replica.deliver(joined(uuid.uuid4()))  # asyncpg queries types first on a new connection
    executed = statement_counter(own_engine)
    elsewhere = dataclasses.replace(joined(known), room_name="foreign-room")
    assert await replica.deliver(room_event(known, "track_published", 3), elsewhere) == [WebhookResult.IGNORED] * 2
    assert executed() == 0
    assert await replica.deliver(joined(uuid.uuid4()), joined(uuid.uuid4())) == [WebhookResult.IGNORED] * 2
    assert executed() == 2  # the lock, and which of the others exist


async def test_two_replicas_get_every_event_in_any_order(replica: Replica, other_replica: Replica) -> None:
    ids = await new_interviews(replica.sessions, 16)
    events = [event for interview in ids for event in conversation(interview)]
    orders = [random.Random(seed).sample(events, len(events)) for seed in (1, 2)]  # noqa: S311 - only an order
    delivered = await asyncio.gather(replica.deliver(*orders[0]), other_replica.deliver(*orders[1]))
    results: dict[str, list[object]] = {event.id: [] for event in events}
    for order, order_results in zip(orders, delivered, strict=True):
        for event, result in zip(order, order_results, strict=True):
            results[event.id].append(result)
    assert all(sorted(map(str, each)) == ["duplicate", "recorded"] for each in results.values()), results
    for interview in ids:
        assert sorted(map(str, await timeline_event_ids(replica.sessions, interview))) == sorted(
            event.id for event in events_of(events, interview)
        )
    assert await differences(replica.sessions) == []
    assert all(status in ("COMPLETED", "FAILED", "ABANDONED") for status in (await statuses(replica.sessions)).values())


def events_of(events: Sequence[Event], interview: uuid.UUID) -> list[Event]:
    return [event for event in events if event.room_name == room_name(interview, 1)]


async def test_two_replicas_share_the_events_of_each_room_in_its_order(
    replica: Replica, other_replica: Replica
) -> None:
    """LiveKit sends a room's next event once the one before is answered, by any replica."""
    ids = await new_interviews(replica.sessions, 24)

    async def play(interview: uuid.UUID) -> None:
        for number, event in enumerate(conversation(interview)):
            receiver = (replica, other_replica)[(number + interview.int) % 2]
            assert await receiver.deliver_one(event) is WebhookResult.RECORDED

    await asyncio.gather(*map(play, ids))
    assert set((await statuses(replica.sessions)).values()) == {"COMPLETED"}
    assert await differences(replica.sessions) == []


async def test_a_locked_row_delays_only_its_own_events(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    held, *free = await new_interviews(replica.sessions, 5)
    async with transaction(replica.sessions) as session:
        assert await lock_interview(session, held)
        first, second = (asyncio.create_task(replica.deliver_one(e)) for e in (joined(held), joined(held, AGENT, 2)))
        assert await replica.deliver(*map(joined, free)) == [WebhookResult.RECORDED] * 4
        assert await replica.deliver(*(joined(each, AGENT, 2) for each in free)) == [WebhookResult.RECORDED] * 4
        assert not first.done()
        assert not second.done()
    assert not caplog.records  # no transaction timed out
    assert [await first, await second] == [WebhookResult.RECORDED] * 2
    assert set((await statuses(replica.sessions)).values()) == {"IN_PROGRESS"}


async def test_one_bad_event_does_not_fail_the_batch(replica: Replica) -> None:
    ids = await new_interviews(replica.sessions, 6)
    events = [joined(each) for each in ids]
    events[2] = dataclasses.replace(events[2], room_sid="\0")  # Postgres refuses it
    results = await replica.deliver(*events)
    assert isinstance(results.pop(2), Exception)
    assert results == [WebhookResult.RECORDED] * 5
    moved = await statuses(replica.sessions)
    assert moved.pop(ids[2]) == "READY_TO_JOIN"
    assert set(moved.values()) == {"WAITING_FOR_AGENT"}
    assert await replica.deliver_one(joined(ids[2])) is WebhookResult.RECORDED


async def test_one_of_two_concurrent_deliveries_is_a_duplicate(replica: Replica) -> None:
    one, other = await new_interviews(replica.sessions, 2)
    event = joined(one)
    assert await replica.deliver(event, event) == [WebhookResult.RECORDED, WebhookResult.DUPLICATE]
    # LiveKit never gives two rooms' events one id. If it did, they would count as one event.
    same_id = dataclasses.replace(joined(one, AGENT, 2), id="EV_same"), dataclasses.replace(joined(other), id="EV_same")
    assert sorted(map(str, await replica.deliver(*same_id))) == ["duplicate", "recorded"]
    assert await differences(replica.sessions) == []


async def test_the_events_of_a_room_are_recorded_in_order(replica: Replica) -> None:
    ids = await new_interviews(replica.sessions, 3)
    conversations = [conversation(each) for each in ids]
    mixed = [event for events in zip(*conversations, strict=True) for event in events]
    assert await replica.deliver(*mixed) == [WebhookResult.RECORDED] * len(mixed)
    for interview, events in zip(ids, conversations, strict=True):
        assert await timeline_event_ids(replica.sessions, interview) == [event.id for event in events]
    assert set((await statuses(replica.sessions)).values()) == {"COMPLETED"}


async def test_a_room_keeps_its_order_while_its_first_event_waits_for_a_lock(replica: Replica) -> None:
    held, free = await new_interviews(replica.sessions, 2)
    events = conversation(held)
    async with transaction(replica.sessions) as session:
        assert await lock_interview(session, held)
        waiting = [asyncio.create_task(replica.deliver_one(event)) for event in events]
        assert await replica.deliver_one(joined(free)) is WebhookResult.RECORDED
    assert [await each for each in waiting] == [WebhookResult.RECORDED] * len(events)
    assert await timeline_event_ids(replica.sessions, held) == [event.id for event in events]


async def test_a_cancelled_request_does_not_cancel_the_batch(replica: Replica) -> None:
    blocked, *ids = await new_interviews(replica.sessions, 4)
    async with transaction(replica.sessions) as session:
        # The batch waits for an uncommitted event id, not for a row of an interview, which it would skip.
        entry = TimelineEntry(interview_id=blocked, attempt=1, kind="livekit", name="x", livekit_event_id="EV_held")
        session.add(entry)
        await session.flush()
        held = dataclasses.replace(joined(ids[0]), id="EV_held")
        gone, *stay = [asyncio.create_task(replica.deliver_one(e)) for e in (joined(ids[1]), held, joined(ids[2]))]
        await wait_for_blocked_transaction(replica.sessions)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert [await each for each in stay] == [WebhookResult.DUPLICATE, WebhookResult.RECORDED]
    moved = await statuses(replica.sessions)
    assert moved[ids[1]] == moved[ids[2]] == "WAITING_FOR_AGENT"


async def wait_for_blocked_transaction(sessions: Sessions) -> None:
    """Return once a transaction of this database waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with sessions() as session:
        while not await session.scalar(waiting):
            await session.rollback()
            await asyncio.sleep(0)


async def test_a_failed_commit_is_reported_to_every_caller(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    ids = await new_interviews(sessions, 5)
    async with sessions.begin() as session:
        await session.execute(
            text("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'")
        )
        await session.execute(
            text(
                "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON timeline DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION no()"
            )
        )
    async with client_of(create_app(settings, sessions)) as client:

        async def post(interview: uuid.UUID) -> int:
            who = participant(CANDIDATE, 1, "")
            event = livekit_webhooks.event(
                "participant_joined", room=room_name(interview, 1), at=BEGAN, participant=who
            )
            body = livekit_webhooks.encode(event)
            response = await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
            return response.status_code

        assert await asyncio.gather(*map(post, ids)) == [500] * 5
        assert set((await statuses(sessions)).values()) == {"READY_TO_JOIN"}
        async with sessions.begin() as session:
            await session.execute(text("DROP TRIGGER no ON timeline"))
        assert await asyncio.gather(*map(post, ids)) == [200] * 5
    async with sessions() as session:
        entries = await session.scalar(select(func.count()).select_from(TimelineEntry))
    assert entries == 10  # including the status changes


async def test_shutdown_waits_for_running_batches(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    (held,) = await new_interviews(sessions, 1)
    app = create_app(settings, sessions)
    stopping = asyncio.Event()
    deliveries: list[asyncio.Task[WebhookResult]] = []

    async def run_app() -> None:
        async with app.router.lifespan_context(app):
            deliveries.append(
                asyncio.create_task(Replica(sessions, app.state.services.livekit_events).deliver_one(joined(held)))
            )
            await wait_for_blocked_transaction(sessions)
            stopping.set()

    async with transaction(sessions) as session:
        assert await lock_interview(session, held)
        running = asyncio.create_task(run_app())
        async with asyncio.timeout(30):  # in case run_app() fails first
            await stopping.wait()
        assert not running.done()
    await running
    assert deliveries[0].done()
    assert set((await statuses(sessions)).values()) == {"WAITING_FOR_AGENT"}

"""Webhooks that come at the same time, on committed rows: one transaction, and nobody pays for another's trouble."""

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
    """One process of the service, as far as webhooks go."""

    sessions: Sessions
    recording: Batcher[RoomEvent, WebhookResult]

    async def deliver(self, *events: Event) -> list[WebhookResult | BaseException]:
        """Tell of all the events at the same time: they go together as far as they may."""
        return await asyncio.gather(*map(self.hear_one, events), return_exceptions=True)

    async def hear_one(self, event: Event) -> WebhookResult:
        return await record_webhook(self.sessions, self.recording, event=event, now=datetime.now(UTC))


def replica_on(engine: AsyncEngine) -> Replica:
    sessions = create_sessionmaker(engine)
    return Replica(sessions, event_batcher(sessions, timeouts=Timeouts()))


@pytest.fixture
def replica(own_engine: AsyncEngine) -> Replica:
    return replica_on(own_engine)


@pytest.fixture
async def other_replica(own_database: str) -> AsyncIterator[Replica]:
    engine = create_engine(own_database)
    yield replica_on(engine)
    await engine.dispose()


async def plan(sessions: Sessions, count: int) -> list[uuid.UUID]:
    """Make interviews; return their ids."""
    async with sessions.begin() as session:
        organization = (await session.scalars(select(Organization))).one()
        texts = dict.fromkeys(("participant_name", "phone_number", "job_title", "company_name", "instructions"), "x")
        planned = [
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
        session.add_all(planned)
        await session.flush()
        return [each.id for each in planned]


def told(interview: uuid.UUID, name: str, at: float, who: dict[str, Any] | None = None) -> Event:
    """Return an event of the interview's room, `at` seconds after the beginning."""
    given = livekit_webhooks.event(
        name,
        room=room_name(interview, 1),
        room_sid=f"RM_{interview.hex[:8]}",
        at=BEGAN + timedelta(seconds=at),
        room_created_at=BEGAN,
        participant=who,
    )
    return parse_event(livekit_webhooks.encode(given))


def comes(interview: uuid.UUID, identity: str = CANDIDATE, at: float = 1, sid: str = "") -> Event:
    return told(interview, "participant_joined", at, somebody(identity, at, sid))


def goes(interview: uuid.UUID, identity: str, at: float, *, since: float, sid: str = "", outcome: str = "") -> Event:
    who = somebody(identity, since, sid, reason="CLIENT_INITIATED")
    who |= {"attributes": {"interview.outcome": outcome}} if outcome else {}
    return told(interview, "participant_left", at, who)


def somebody(identity: str, since: float, sid: str, reason: str = "") -> dict[str, Any]:
    kind = "AGENT" if identity == AGENT else "STANDARD"
    joined_at = BEGAN + timedelta(seconds=since)
    return livekit_webhooks.participant(
        sid or f"PA_{identity}", identity, joined_at=joined_at, kind=kind, reason=reason
    )


def story(interview: uuid.UUID) -> list[Event]:
    """Return a whole conversation: the candidate drops once and comes back, the agent reports, the room ends."""
    return [
        told(interview, "room_started", 0),
        comes(interview, CANDIDATE, 1),
        comes(interview, AGENT, 2),
        goes(interview, CANDIDATE, 20, since=1),
        comes(interview, CANDIDATE, 25, sid="PA_again"),
        goes(interview, AGENT, 60, since=2, outcome="completed"),
        goes(interview, CANDIDATE, 62, since=25, sid="PA_again"),
        told(interview, "room_finished", 70),
    ]


async def statuses(sessions: Sessions) -> dict[uuid.UUID, str]:
    async with sessions() as session:
        return {row.id: row.status for row in await session.execute(select(Interview.id, Interview.status))}


async def lines(sessions: Sessions, interview: uuid.UUID) -> list[str | None]:
    """Return the ids of LiveKit's events on the interview's timeline, in its order."""
    query = select(TimelineEntry.livekit_event_id).where(
        TimelineEntry.interview_id == interview, TimelineEntry.kind == "livekit"
    )
    async with sessions() as session:
        return list(await session.scalars(query.order_by(TimelineEntry.id)))


async def differences(sessions: Sessions) -> list[object]:
    return [each async for batch in audit(sessions, timeouts=Timeouts()) for each in batch.differences]


AROUND = ("BEGIN;", "COMMIT;", "ROLLBACK;", ";")  # a transaction, and whether the connection is alive


def counting(engine: AsyncEngine) -> Callable[[], int]:
    """Return what tells how many statements the engine has executed since it was asked last."""
    executed: list[str] = []

    def keep(logged: LoggedQuery) -> None:
        executed.extend({logged.query} - {*AROUND})

    def since() -> int:
        count = len(executed)
        executed.clear()
        return count

    of_sqlalchemy.listen(
        engine.sync_engine, "checkout", lambda connection, *_: connection.driver_connection.add_query_logger(keep)
    )
    return since


async def test_many_take_as_many_statements_as_one(own_engine: AsyncEngine, replica: Replica) -> None:
    ids = await plan(replica.sessions, 42)
    await replica.deliver(comes(ids[0]))  # a new connection of asyncpg's asks for types first
    executed = counting(own_engine)
    assert await replica.deliver(comes(ids[1])) == [WebhookResult.RECORDED]
    for_one = executed()
    assert await replica.deliver(*map(comes, ids[2:])) == [WebhookResult.RECORDED] * 40
    assert executed() == for_one == 6
    assert set((await statuses(replica.sessions)).values()) == {"WAITING_FOR_AGENT"}


async def test_what_moves_nothing_takes_no_statement(own_engine: AsyncEngine, replica: Replica) -> None:
    (known,) = await plan(replica.sessions, 1)
    await replica.deliver(comes(uuid.uuid4()))  # a new connection of asyncpg's asks for types first
    executed = counting(own_engine)
    elsewhere = dataclasses.replace(comes(known), room_name="somebody-elses-room")
    assert await replica.deliver(told(known, "track_published", 3), elsewhere) == [WebhookResult.IGNORED] * 2
    assert executed() == 0
    assert await replica.deliver(comes(uuid.uuid4()), comes(uuid.uuid4())) == [WebhookResult.IGNORED] * 2
    assert executed() == 2  # none to lock, and none that somebody else has locked


async def test_two_replicas_hear_everything_twice_and_in_any_order(replica: Replica, other_replica: Replica) -> None:
    ids = await plan(replica.sessions, 16)
    events = [event for interview in ids for event in story(interview)]
    orders = [random.Random(seed).sample(events, len(events)) for seed in (1, 2)]  # noqa: S311 - only an order
    heard = await asyncio.gather(replica.deliver(*orders[0]), other_replica.deliver(*orders[1]))
    results: dict[str, list[object]] = {event.id: [] for event in events}
    for order, became in zip(orders, heard, strict=True):
        for event, result in zip(order, became, strict=True):
            results[event.id].append(result)
    assert all(sorted(map(str, each)) == ["duplicate", "recorded"] for each in results.values()), results
    for interview in ids:
        assert sorted(map(str, await lines(replica.sessions, interview))) == sorted(
            event.id for event in story_of(events, interview)
        )
    assert await differences(replica.sessions) == []
    assert all(status in ("COMPLETED", "FAILED", "ABANDONED") for status in (await statuses(replica.sessions)).values())


def story_of(events: Sequence[Event], interview: uuid.UUID) -> list[Event]:
    return [event for event in events if event.room_name == room_name(interview, 1)]


async def test_two_replicas_share_the_events_of_each_room_in_its_order(
    replica: Replica, other_replica: Replica
) -> None:
    """As LiveKit sends them: the next one of a room once the one before is answered, by whichever replica."""
    ids = await plan(replica.sessions, 24)

    async def play(interview: uuid.UUID) -> None:
        for number, event in enumerate(story(interview)):
            by = (replica, other_replica)[(number + interview.int) % 2]
            assert await by.hear_one(event) is WebhookResult.RECORDED

    await asyncio.gather(*map(play, ids))
    assert set((await statuses(replica.sessions)).values()) == {"COMPLETED"}
    assert await differences(replica.sessions) == []


async def test_a_locked_row_holds_up_its_own_events_only(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    held, *free = await plan(replica.sessions, 5)
    async with transaction(replica.sessions) as session:
        assert await lock_interview(session, held)
        first, second = (asyncio.create_task(replica.hear_one(e)) for e in (comes(held), comes(held, AGENT, 2)))
        assert await replica.deliver(*map(comes, free)) == [WebhookResult.RECORDED] * 4
        assert await replica.deliver(*(comes(each, AGENT, 2) for each in free)) == [WebhookResult.RECORDED] * 4
        assert not first.done()
        assert not second.done()
    assert not caplog.records  # no transaction failed because it had waited
    assert [await first, await second] == [WebhookResult.RECORDED] * 2
    assert set((await statuses(replica.sessions)).values()) == {"IN_PROGRESS"}


async def test_one_bad_event_harms_no_other(replica: Replica) -> None:
    ids = await plan(replica.sessions, 6)
    events = [comes(each) for each in ids]
    events[2] = dataclasses.replace(events[2], room_sid="\0")  # Postgres refuses it
    results = await replica.deliver(*events)
    assert isinstance(results.pop(2), Exception)
    assert results == [WebhookResult.RECORDED] * 5
    moved = await statuses(replica.sessions)
    assert moved.pop(ids[2]) == "READY_TO_JOIN"
    assert set(moved.values()) == {"WAITING_FOR_AGENT"}
    assert await replica.hear_one(comes(ids[2])) is WebhookResult.RECORDED


async def test_of_one_event_twice_at_a_time_one_is_a_duplicate(replica: Replica) -> None:
    one, other = await plan(replica.sessions, 2)
    event = comes(one)
    assert await replica.deliver(event, event) == [WebhookResult.RECORDED, WebhookResult.DUPLICATE]
    # Two rooms never share an event's id; should they, it is one event.
    strange = dataclasses.replace(comes(one, AGENT, 2), id="EV_same"), dataclasses.replace(comes(other), id="EV_same")
    assert sorted(map(str, await replica.deliver(*strange))) == ["duplicate", "recorded"]
    assert await differences(replica.sessions) == []


async def test_the_events_of_a_room_are_recorded_in_the_order_in_which_they_came(replica: Replica) -> None:
    ids = await plan(replica.sessions, 3)
    stories = [story(each) for each in ids]
    mixed = [event for events in zip(*stories, strict=True) for event in events]
    assert await replica.deliver(*mixed) == [WebhookResult.RECORDED] * len(mixed)
    for interview, events in zip(ids, stories, strict=True):
        assert await lines(replica.sessions, interview) == [event.id for event in events]
    assert set((await statuses(replica.sessions)).values()) == {"COMPLETED"}


async def test_a_room_keeps_its_order_while_its_first_event_waits_for_a_lock(replica: Replica) -> None:
    held, free = await plan(replica.sessions, 2)
    events = story(held)
    async with transaction(replica.sessions) as session:
        assert await lock_interview(session, held)
        waiting = [asyncio.create_task(replica.hear_one(event)) for event in events]
        assert await replica.hear_one(comes(free)) is WebhookResult.RECORDED
    assert [await each for each in waiting] == [WebhookResult.RECORDED] * len(events)
    assert await lines(replica.sessions, held) == [event.id for event in events]


async def test_a_caller_that_goes_away_takes_nobody_along(replica: Replica) -> None:
    blocked, *ids = await plan(replica.sessions, 4)
    async with transaction(replica.sessions) as session:
        # What holds up this run is no row of an interview, so that the run waits: an event's id, not committed yet.
        entry = TimelineEntry(interview_id=blocked, attempt=1, kind="livekit", name="x", livekit_event_id="EV_held")
        session.add(entry)
        await session.flush()
        held = dataclasses.replace(comes(ids[0]), id="EV_held")
        gone, *stay = [asyncio.create_task(replica.hear_one(e)) for e in (comes(ids[1]), held, comes(ids[2]))]
        await somebody_waits(replica.sessions)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert [await each for each in stay] == [WebhookResult.DUPLICATE, WebhookResult.RECORDED]
    moved = await statuses(replica.sessions)
    assert moved[ids[1]] == moved[ids[2]] == "WAITING_FOR_AGENT"


async def somebody_waits(sessions: Sessions) -> None:
    """Return once a transaction of this database waits for another one."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with sessions() as session:
        while not await session.scalar(waiting):
            await session.rollback()
            await asyncio.sleep(0)


async def test_a_commit_that_fails_is_answered_to_nobody_as_done(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    ids = await plan(sessions, 5)
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
            who = somebody(CANDIDATE, 1, "")
            given = livekit_webhooks.event(
                "participant_joined", room=room_name(interview, 1), at=BEGAN, participant=who
            )
            body = livekit_webhooks.encode(given)
            answer = await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
            return answer.status_code

        assert await asyncio.gather(*map(post, ids)) == [500] * 5
        assert set((await statuses(sessions)).values()) == {"READY_TO_JOIN"}
        async with sessions.begin() as session:
            await session.execute(text("DROP TRIGGER no ON timeline"))
        assert await asyncio.gather(*map(post, ids)) == [200] * 5
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(TimelineEntry)) == 10  # with the changes of status


async def test_a_stop_waits_for_what_is_being_recorded(own_engine: AsyncEngine, settings: Settings) -> None:
    sessions = create_sessionmaker(own_engine)
    (held,) = await plan(sessions, 1)
    app = create_app(settings, sessions)
    stopping = asyncio.Event()
    heard: list[asyncio.Task[WebhookResult]] = []

    async def live() -> None:
        async with app.router.lifespan_context(app):
            heard.append(
                asyncio.create_task(Replica(sessions, app.state.services.livekit_events).hear_one(comes(held)))
            )
            await somebody_waits(sessions)
            stopping.set()

    async with transaction(sessions) as session:
        assert await lock_interview(session, held)
        living = asyncio.create_task(live())
        async with asyncio.timeout(30):  # one that fails before would never say so
            await stopping.wait()
        assert not living.done()
    await living
    assert heard[0].done()
    assert set((await statuses(sessions)).values()) == {"WAITING_FOR_AGENT"}

"""A due interview: who claims it, what LiveKit is asked, what is decided, which effects are applied."""

import asyncio
import json
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.core import metrics
from app.lifecycle import EndReason, Outcome, Status
from app.livekit import client
from app.livekit.client import LiveKitServer
from app.livekit.rooms import room_name
from app.worker.deadlines import LEASE, claim, process_due_interview
from app.worker.effects import MAX_BACKOFF
from tests.conftest import LIVEKIT_KEY, LIVEKIT_SECRET
from tests.worker.world import AGENT, CANDIDATE, World, ago

AWAY = ["down", "slow", "500", "unavailable", "unauthenticated", "nonsense"]
DAY = 24 * 3600


async def due(world: World, seconds: float = 5) -> uuid.UUID:
    interview_id = await world.new()
    await world.alter(interview_id, next_deadline_at=ago(seconds))
    return interview_id


async def waits_too_long(world: World, *, before: float = 100) -> uuid.UUID:
    """A candidate has waited for an agent for longer than the timeout."""
    interview_id = await world.new()
    await world.joins(interview_id, before=before)
    return interview_id


class TestClaim:
    async def test_the_longest_due_comes_first_and_is_leased(self, world: World) -> None:
        later, sooner = await due(world, 5), await due(world, 50)
        await due(world, -60)
        now = ago(0)
        assert await claim(world.context, now=now) == sooner
        assert (await world.row(sooner)).leased_until == now + LEASE
        assert await claim(world.context, now=now) == later
        assert await claim(world.context, now=now) is None

    async def test_what_was_never_released_is_due_again_after_its_lease(self, world: World) -> None:
        interview_id = await due(world)
        now = ago(0)
        assert await claim(world.context, now=now) == interview_id
        assert await claim(world.context, now=now + LEASE - timedelta(seconds=1)) is None
        assert await claim(world.context, now=now + LEASE) == interview_id

    async def test_many_claimers_at_once_take_each_once(self, world: World) -> None:
        expected = {await due(world, number) for number in range(1, 41)}
        now = ago(0)
        claimed = await asyncio.gather(*(claim(world.context, now=now) for _ in range(60)))
        taken = [each for each in claimed if each]
        assert set(taken) <= expected
        assert len(taken) == len(set(taken))
        while one := await claim(world.context, now=now):
            taken.append(one)
        assert sorted(taken) == sorted(expected)

    async def test_a_locked_row_is_skipped(self, world: World) -> None:
        locked, free = await due(world, 50), await due(world, 5)
        async with world.sessions.begin() as session:
            await session.execute(text("SELECT 1 FROM interviews WHERE id = :id FOR UPDATE"), {"id": locked})
            assert await claim(world.context, now=ago(0)) == free  # who waits for the lock is refused in the end


class TestDeadlines:
    async def test_it_is_decided_only_after_asking(self, world: World) -> None:
        interview_id = await waits_too_long(world)
        assert (await world.row(interview_id)).status is Status.WAITING_FOR_AGENT
        row = await world.process(interview_id)
        assert (row.status, row.end_reason) == (Status.FAILED, EndReason.AGENT_UNAVAILABLE)
        assert row.asked_at
        assert world.stub.calls["ListParticipants"] == 1

    async def test_an_agent_whose_webhook_was_lost_is_found_in_time(self, world: World) -> None:
        interview_id = await waits_too_long(world)
        await world.joins(interview_id, AGENT, before=60, webhook=False)
        row = await world.process(interview_id)
        assert row.status is Status.IN_PROGRESS
        assert row.started_at
        assert not await world.is_due(interview_id)

    async def test_a_candidate_back_without_a_webhook_is_still_in_progress(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=600)
        await world.leaves(interview_id, before=200, joined_before=600, reason="CONNECTION_TIMEOUT")
        await world.joins(interview_id, before=150, sid="PA_again", webhook=False)
        assert (await world.process(interview_id)).status is Status.IN_PROGRESS

    async def test_an_arriving_candidate_is_not_counted_as_there_nor_as_gone(self, world: World) -> None:
        interview_id = await world.new(closes_at=ago(-50))
        await world.alter(interview_id, closes_at=ago(50), next_deadline_at=ago(50))
        await world.gets_token(interview_id, before=200)
        world.stub.join(room_name(interview_id, 1), CANDIDATE, joined_at=ago(1), arriving=True)
        row = await world.process(interview_id)
        assert (row.status, row.end_reason) == (Status.FAILED, EndReason.CANDIDATE_CONNECTION_FAILED)

    async def test_no_show(self, world: World) -> None:
        interview_id = await world.new(closes_at=ago(-50))
        await world.alter(interview_id, closes_at=ago(50), next_deadline_at=ago(50))
        row = await world.process(interview_id)
        assert (row.status, row.end_reason, row.next_deadline_at) == (Status.NO_SHOW, None, None)

    async def test_the_maximum_duration_deletes_the_room_at_once(self, world: World) -> None:
        interview_id = await world.new(max_duration=60)
        await world.talks(interview_id, before=70)
        row = await world.process(interview_id)
        assert (row.status, row.end_reason) == (Status.COMPLETED, EndReason.MAX_DURATION_REACHED)
        assert row.started_at
        assert row.ended_at == row.started_at + timedelta(seconds=60)
        assert world.stub.deleted == [row.room_name]
        assert (row.next_deadline_at, row.leased_until) == (None, None)


class TestLiveKitAway:
    @pytest.mark.parametrize("fault", AWAY)
    async def test_it_is_postponed_and_logged_once_on_the_timeline(self, world: World, fault: str) -> None:
        interview_id = await waits_too_long(world)
        world.livekit_is(fault)
        before = metrics.POSTPONED._value.get()  # noqa: SLF001 - prometheus_client shows a counter's value nowhere else
        for seconds in (2, 4):
            started = ago(0)
            row = await world.process(interview_id)
            assert row.leased_until
            assert started <= row.leased_until - timedelta(seconds=seconds) <= ago(0)
        assert row.status is Status.WAITING_FOR_AGENT
        assert row.failures == 2
        assert await world.names(interview_id, "service") == ["postponed"]
        assert metrics.POSTPONED._value.get() == before + 2  # noqa: SLF001
        world.livekit_is_well()
        row = await world.process(interview_id)
        assert (row.status, row.failures, row.leased_until) == (Status.FAILED, 0, None)

    async def test_the_pause_grows_to_a_minute(self, world: World) -> None:
        interview_id = await waits_too_long(world)
        world.stub.faults["*"] = "down"
        await world.alter(interview_id, failures=2_000_000_000)
        row = await world.process(interview_id)
        assert row.leased_until
        assert row.leased_until <= ago(0) + MAX_BACKOFF

    async def test_an_unreachable_livekit_is_not_called_for_each(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "AWAY", 3600)
        for _ in range(3):
            await waits_too_long(world)
        async with LiveKitServer("http://127.0.0.1:1", LIVEKIT_KEY, LIVEKIT_SECRET) as world.livekit:
            assert await world.process_all_due() == 1
            assert await world.process_all_due() == 0
            assert world.livekit.is_away
            monkeypatch.setattr(client, "AWAY", 0)
            world.livekit._away_until = 0  # noqa: SLF001 - an hour later
            assert await world.process_all_due() == 2

    @pytest.mark.parametrize("fault", ["down", "nonsense"])
    async def test_after_a_day_it_is_decided_on_what_is_stored(self, world: World, fault: str) -> None:
        interview_id = await waits_too_long(world, before=DAY + 200)
        world.stub.faults["*"] = fault
        row = await world.process(interview_id)
        assert (row.status, row.end_reason) == (Status.FAILED, EndReason.AGENT_UNAVAILABLE)
        assert row.asked_at is None

    async def test_a_second_outage_is_on_the_timeline_again(self, world: World) -> None:
        interview_id = await world.new(max_duration=900)
        await world.talks(interview_id, before=700)
        for _ in range(2):
            world.stub.faults["*"] = "down"
            await world.alter(interview_id, told=None)
            await world.process(interview_id)
            world.stub.faults.clear()
            await world.process(interview_id)
        assert (await world.names(interview_id, "service")).count("postponed") == 2


class TestPoisonedRows:
    async def test_a_row_that_raises_is_postponed(self, world: World) -> None:
        interview_id = await due(world)
        await world.alter(interview_id, max_duration=10**15)  # no timedelta can hold it
        started = ago(0)
        row = await world.process(interview_id)
        assert row.leased_until
        assert row.leased_until > started
        assert row.failures == 1

    async def test_the_others_go_on(self, world: World) -> None:
        poisoned = await due(world, 500)
        await world.alter(poisoned, max_duration=10**15)
        healthy = await waits_too_long(world)
        assert await world.process_all_due() == 2
        assert (await world.row(healthy)).status is Status.FAILED

    async def test_a_missing_interview_raises_nothing(self, world: World) -> None:
        await process_due_interview(world.context, uuid.uuid4())


class TestRooms:
    async def test_after_a_cancel_it_is_deleted_at_once(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50)
        await world.cancels(interview_id)
        assert await world.process_all_due() == 1
        assert world.stub.deleted == [room_name(interview_id, 1)]
        assert (await world.row(interview_id)).next_deadline_at is None

    async def test_otherwise_after_the_goodbye(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50)
        await world.reports(interview_id, Outcome.COMPLETED)
        row = await world.row(interview_id)
        assert row.ended_at
        assert row.next_deadline_at == row.ended_at + world.timeouts.delete_room_after
        assert await world.process_all_due() == 0
        await world.process(interview_id)
        assert world.stub.deleted == []

    async def test_a_room_that_is_not_there_is_as_good_as_deleted(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50, there=False)
        await world.cancels(interview_id)
        row = await world.process(interview_id)
        assert row.room_gone_at
        assert (row.next_deadline_at, row.revivals) == (None, 0)
        assert "room_deleted" not in await world.names(interview_id, "service")

    @pytest.mark.parametrize("fault", AWAY)
    async def test_it_is_repeated_until_livekit_accepts(self, world: World, fault: str) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50)
        await world.cancels(interview_id)
        world.livekit_is(fault, method="DeleteRoom")
        row = await world.process(interview_id)
        assert row.room_gone_at is None
        assert row.next_deadline_at
        assert row.leased_until
        world.livekit_is_well()
        await world.alter(interview_id, leased_until=ago(1))
        assert await world.process_all_due() == 1
        assert world.stub.deleted == [room_name(interview_id, 1)]

    async def test_one_that_came_back_to_life_is_deleted_again_and_counted(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50)
        await world.cancels(interview_id, before=30)
        await world.process(interview_id)
        await world.joins(interview_id, before=-0.01, sid="PA_old_token", room_sid="RM_2")
        await asyncio.sleep(0.05)
        assert await world.process_all_due() == 1
        row = await world.row(interview_id)
        assert (row.revivals, row.status, row.next_deadline_at) == (1, Status.CANCELLED, None)
        assert len(world.stub.deleted) == 2
        done = await world.entries(interview_id, "service")
        assert [entry.detail["cameBack"] for entry in done] == [False, True]

    async def test_a_room_made_while_the_old_one_was_being_deleted_is_deleted_too(self, world: World) -> None:
        """LiveKit's answer takes a while: what came to life meanwhile is not covered by it."""
        interview_id = await world.new()
        await world.talks(interview_id, before=50)
        await world.cancels(interview_id, before=30)

        async def back() -> None:
            await asyncio.sleep(0.1)
            world.stub.before.clear()
            await world.joins(interview_id, before=0, sid="PA_old_token", room_sid="RM_2")
            await asyncio.sleep(0.1)

        world.stub.before["DeleteRoom"] = back
        await world.process_all_due()
        assert (await world.row(interview_id)).next_deadline_at
        await world.alter(interview_id, leased_until=None)
        await world.process_all_due()
        assert world.stub.rooms == {}
        assert (await world.row(interview_id)).revivals == 1

    async def test_livekits_clock_ahead_of_ours_is_no_hot_loop(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50)
        await world.cancels(interview_id, before=30)
        await world.joins(interview_id, before=-300, sid="PA_from_the_future", room_sid="RM_2")
        await world.process_all_due()
        assert world.stub.calls["DeleteRoom"] <= 3

    async def test_after_a_day_without_livekit_a_room_that_is_still_there_is_deleted(self, world: World) -> None:
        """The service was down for the weekend, the candidate's tab is still open."""
        interview_id = await world.new(max_duration=60)
        await world.talks(interview_id, before=2 * DAY)
        await world.process_all_due()
        assert (await world.row(interview_id)).status is Status.COMPLETED
        assert world.stub.rooms == {}


class TestDispatch:
    async def test_once_for_each_loss(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)
        row = await world.process(interview_id)
        assert row.dispatches == 1
        await world.process(interview_id)
        room = row.room_name
        await world.alter(interview_id, dispatched_at=ago(38))  # it was not just now
        assert [each.agent_name for each in world.stub.dispatches[room]] == ["interviewer"]
        await world.joins(interview_id, AGENT, before=35, sid="PA_a1")
        await world.leaves(interview_id, AGENT, before=32, joined_before=35, sid="PA_a1", reason="SIGNAL_CLOSE")
        assert await world.process_all_due() == 1
        assert len(world.stub.dispatches[room]) == 2
        assert await world.process_all_due() == 0
        assert await world.names(interview_id, "service") == ["agent_dispatched", "agent_dispatched"]

    async def test_not_before_its_time(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=20)
        row = await world.process(interview_id)
        assert row.next_deadline_at
        assert row.next_deadline_at > ago(0)
        assert world.stub.dispatches == {}

    async def test_not_when_an_agent_is_there(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)
        await world.joins(interview_id, AGENT, before=20, webhook=False)
        assert (await world.process(interview_id)).status is Status.IN_PROGRESS
        assert world.stub.dispatches == {}

    async def test_not_when_one_is_just_arriving(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)
        sid = world.stub.join(room_name(interview_id, 1), AGENT, joined_at=ago(1), arriving=True)
        assert (await world.process(interview_id)).status is Status.WAITING_FOR_AGENT
        assert world.stub.dispatches == {}
        world.stub.leave(room_name(interview_id, 1), sid)
        await world.alter(interview_id, leased_until=None)
        await world.process(interview_id)
        assert len(world.stub.dispatches) == 1

    async def test_not_when_the_candidate_is_gone(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)
        world.stub.rooms.clear()
        assert (await world.process(interview_id)).status is Status.READY_TO_JOIN
        assert world.stub.dispatches == {}

    async def test_without_an_agents_name_none_and_nothing_is_due(self, world: World) -> None:
        interview_id = await waits_too_long(world, before=40)
        row = await world.process(interview_id)
        assert row.next_deadline_at
        assert row.next_deadline_at > ago(0)
        assert world.stub.calls["CreateDispatch"] == 0

    async def test_a_crash_between_dispatch_and_recording_adds_no_second_agent(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)
        await world.process(interview_id)
        await world.alter(interview_id, dispatches=0, dispatched_at=None)  # what a kill -9 leaves
        row = await world.process(interview_id)
        assert row.dispatches == 1
        assert len(world.stub.dispatches[row.room_name]) == 1

    @pytest.mark.parametrize("method", ["ListDispatch", "CreateDispatch"])
    async def test_it_is_repeated_until_livekit_accepts(self, world: World, method: str) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)
        world.stub.faults[method] = "unavailable"
        row = await world.process(interview_id)
        assert (row.dispatches, row.failures) == (0, 1)
        world.stub.faults.clear()
        assert (await world.process(interview_id)).dispatches == 1


class TestTimeLeftAnnounced:
    def announced(self, world: World) -> list[int]:
        for each in world.stub.data:
            assert each.topic == "interview.time"
        return [json.loads(each.data)["secondsLeft"] for each in world.stub.data]

    async def test_five_minutes_and_one_minute_before_the_end(self, world: World) -> None:
        interview_id = await world.new(max_duration=900)
        await world.talks(interview_id, before=601)
        row = await world.process(interview_id)
        assert row.started_at
        assert row.next_deadline_at == row.started_at + timedelta(seconds=840)
        [left] = self.announced(world)
        assert 200 <= left <= 300
        assert await world.process_all_due() == 0
        assert row.told
        assert timedelta(seconds=200) <= row.told <= timedelta(minutes=5)

    async def test_a_late_worker_announces_what_is_really_left(self, world: World) -> None:
        interview_id = await world.new(max_duration=900)
        await world.talks(interview_id, before=700)
        await world.process_all_due()
        [left] = self.announced(world)
        assert 100 <= left <= 200

    async def test_each_is_announced_once_also_when_both_are_late(self, world: World) -> None:
        interview_id = await world.new(max_duration=900)
        await world.talks(interview_id, before=870)
        await world.process_all_due()
        [left] = self.announced(world)
        assert 5 <= left <= 30

    async def test_a_time_as_long_as_the_conversation_is_not_announced(self, world: World) -> None:
        interview_id = await world.new(max_duration=60)
        await world.talks(interview_id, before=30)
        row = await world.process(interview_id)
        assert row.started_at
        assert row.next_deadline_at == row.started_at + timedelta(seconds=60)
        assert self.announced(world) == []

    async def test_a_missing_room_needs_no_announcement(self, world: World) -> None:
        interview_id = await world.new(max_duration=900)
        await world.talks(interview_id, before=601)
        world.stub.rooms.clear()
        row = await world.process(interview_id)
        assert row.told
        assert row.failures == 0


class TestAChangedAttemptMeanwhile:
    """LiveKit's answer takes a while, and the interview is opened again before it is there."""

    async def test_who_was_in_the_old_room_is_not_taken_for_the_new_one(self, world: World) -> None:
        interview_id = await waits_too_long(world)

        async def reopened() -> None:
            world.stub.before.clear()
            await world.cancels(interview_id, before=99)
            await world.reopens(interview_id)

        world.stub.join(room_name(interview_id, 1), AGENT, joined_at=ago(10))
        world.stub.before["ListParticipants"] = reopened
        row = await world.process(interview_id)
        assert (row.attempt, row.status) == (2, Status.READY_TO_JOIN)
        assert (row.asked_at, row.failures) == (None, 0)
        assert "room_checked" not in await world.names(interview_id, "livekit")

    async def test_the_old_rooms_deletion_is_not_the_new_ones(self, world: World) -> None:
        interview_id = await waits_too_long(world, before=50)
        await world.cancels(interview_id)

        async def reopened() -> None:
            await world.reopens(interview_id)

        world.stub.before["DeleteRoom"] = reopened
        row = await world.process(interview_id)
        assert (row.attempt, row.room_gone_at) == (2, None)
        assert world.stub.deleted == [room_name(interview_id, 1)]

    async def test_a_dispatch_for_the_old_room_is_not_counted_for_the_new_one(self, world: World) -> None:
        world.dispatching()
        interview_id = await waits_too_long(world, before=40)

        async def reopened() -> None:
            await world.cancels(interview_id)
            await world.reopens(interview_id)

        world.stub.before["CreateDispatch"] = reopened
        row = await world.process(interview_id)
        assert (row.attempt, row.dispatches) == (2, 0)

    async def test_an_announcement_in_the_old_room_is_not_stored_for_the_new_one(self, world: World) -> None:
        interview_id = await world.new(max_duration=900)
        await world.talks(interview_id, before=601)

        async def reopened() -> None:
            await world.cancels(interview_id)
            await world.reopens(interview_id)

        world.stub.before["SendData"] = reopened
        row = await world.process(interview_id)
        assert (row.attempt, row.told) == (2, None)

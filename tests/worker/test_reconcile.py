"""Comparing the stored state with what LiveKit shows: reconciling finds what lost webhooks would have reported."""

import asyncio
import uuid

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.lifecycle import EndReason, Status
from app.livekit.client import LiveKitUnavailable
from app.livekit.rooms import room_name
from app.models import Connection, Interview, TimelineEntry
from app.worker.reconcile import LIVE_ROOM_STATES, reconcile
from tests.explained import fill
from tests.worker.world import AGENT, CANDIDATE, World, ago


async def talking(world: World, *, before: float = 100) -> uuid.UUID:
    interview_id = await world.new()
    await world.talks(interview_id, before=before)
    return interview_id


async def reconciled(world: World, interview_id: uuid.UUID) -> Interview:
    await reconcile(world.context)
    return await world.row(interview_id)


class TestLostWebhooks:
    async def test_joins(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50, webhook=False)
        row = await reconciled(world, interview_id)
        assert row.status is Status.IN_PROGRESS
        assert row.started_at
        assert abs((row.started_at - ago(50)).total_seconds()) < 30

    async def test_an_agents_join(self, world: World) -> None:
        interview_id = await world.new()
        await world.joins(interview_id, before=50)
        await world.joins(interview_id, AGENT, before=40, webhook=False)
        assert (await reconciled(world, interview_id)).status is Status.IN_PROGRESS

    async def test_a_candidates_leave(self, world: World) -> None:
        interview_id = await talking(world)
        await world.leaves(interview_id, before=30, joined_before=100, webhook=False)
        assert (await reconciled(world, interview_id)).status is Status.RECONNECTING
        gone = await world.connection(interview_id, f"PA_{CANDIDATE}")
        assert gone.left_at is None
        assert gone.missing_at

    async def test_an_agents_leave(self, world: World) -> None:
        interview_id = await talking(world)
        await world.leaves(interview_id, AGENT, before=30, joined_before=100, webhook=False)
        row = await reconciled(world, interview_id)
        assert row.status is Status.WAITING_FOR_AGENT, "an inferred leave is a lost connection, not an end"

    async def test_the_rooms_end(self, world: World) -> None:
        interview_id = await talking(world)
        world.stub.rooms.clear()
        assert (await reconciled(world, interview_id)).status is Status.RECONNECTING
        assert world.stub.calls["ListParticipants"] == 0

    async def test_a_crashed_server(self, world: World) -> None:
        """Both are back, in a room with a new sid, and no webhook arrived."""
        interview_id = await talking(world)
        world.stub.rooms.clear()
        await world.joins(interview_id, before=20, sid="PA_c2", room_sid="RM_2", webhook=False)
        await world.joins(interview_id, AGENT, before=19, sid="PA_a2", room_sid="RM_2", webhook=False)
        row = await reconciled(world, interview_id)
        assert row.status is Status.IN_PROGRESS
        assert row.started_at
        assert abs((row.started_at - ago(100)).total_seconds()) < 30
        await reconcile(world.context)
        asked = await world.names(interview_id, "livekit")
        assert asked.count("room_checked") == 1, "what was found once is not found again"

    async def test_a_room_deleted_from_outside(self, world: World) -> None:
        interview_id = await talking(world, before=300)
        for identity in (CANDIDATE, AGENT):
            await world.leaves(interview_id, identity, before=130, joined_before=300, reason="ROOM_DELETED")
        assert (await world.row(interview_id)).status is Status.RECONNECTING
        world.stub.rooms.clear()
        row = await reconciled(world, interview_id)
        assert (row.status, row.end_reason) == (Status.COMPLETED, EndReason.ROOM_DELETED)


class TestRoomsThatShouldBeGone:
    async def test_the_room_of_an_ended_interview_without_webhooks(self, world: World) -> None:
        interview_id = await talking(world)
        await world.cancels(interview_id)
        await world.process_all_due()
        await world.joins(interview_id, before=-0.05, sid="PA_old_token", room_sid="RM_2", webhook=False)
        await asyncio.sleep(0.1)
        row = await reconciled(world, interview_id)
        assert row.status is Status.CANCELLED
        assert await world.is_due(interview_id)
        await world.process_all_due()
        assert world.stub.rooms == {}
        assert (await world.row(interview_id)).revivals == 1

    async def test_a_no_show_that_turns_up_after_all(self, world: World) -> None:
        interview_id = await world.new(closes_at=ago(-50))
        await world.alter(interview_id, closes_at=ago(50), next_deadline_at=ago(50))
        await world.process_all_due()
        await world.joins(interview_id, before=10, webhook=False)
        assert (await reconciled(world, interview_id)).status is Status.NO_SHOW
        await world.process_all_due()
        assert world.stub.rooms == {}

    async def test_the_rooms_of_frozen_attempts(self, world: World) -> None:
        interview_id = await talking(world)
        await world.cancels(interview_id)
        await world.reopens(interview_id)
        world.stub.open(room_name(interview_id, 2), created_at=ago(1), sid="RM_2")
        await reconcile(world.context)
        assert list(world.stub.rooms) == [room_name(interview_id, 2)]
        assert await world.names(interview_id, "service") == ["room_deleted"]

    async def test_rooms_of_others_are_left_alone(self, world: World) -> None:
        world.stub.open("foreign-room", created_at=ago(10))
        world.stub.open(f"interview-{uuid.uuid4()}", created_at=ago(10))
        await reconcile(world.context)
        assert world.stub.deleted == []

    async def test_a_room_that_outlives_its_deletion_is_deleted_again(self, world: World) -> None:
        """LiveKit confirmed and did nothing; or its clock is behind, so that a later join seems earlier."""
        interview_id = await talking(world)
        await world.cancels(interview_id)
        kept = dict(world.stub.rooms)
        await world.process_all_due()
        world.stub.rooms |= kept
        await reconcile(world.context)
        await world.process_all_due()
        assert world.stub.rooms == {}


class TestSnapshots:
    async def test_only_what_was_known_before_is_closed(self, world: World) -> None:
        """A join and its webhook arrive while LiveKit's response is on its way."""
        interview_id = await talking(world)
        world.stub.rooms[room_name(interview_id, 1)].participants.clear()

        async def back() -> None:
            world.stub.before.clear()
            await world.joins(interview_id, before=-0.01, sid="PA_meanwhile", there=False)

        world.stub.before["ListParticipants"] = back
        row = await reconciled(world, interview_id)
        assert row.status is Status.WAITING_FOR_AGENT
        assert (await world.connection(interview_id, "PA_meanwhile")).missing_at is None

    async def test_a_room_that_came_while_rooms_were_listed_is_not_closed(self, world: World) -> None:
        interview_id = await world.new()
        await world.joins(interview_id, before=50, there=False)

        async def back() -> None:
            world.stub.before.clear()
            await world.joins(interview_id, before=0, sid="PA_2", room_sid="RM_2", there=False)

        world.stub.before["ListRooms"] = back
        assert (await reconciled(world, interview_id)).status is Status.WAITING_FOR_AGENT

    async def test_a_later_sighting_takes_a_disappearance_back(self, world: World) -> None:
        interview_id = await talking(world)
        rooms = dict(world.stub.rooms)
        world.stub.rooms.clear()
        assert (await reconciled(world, interview_id)).status is Status.RECONNECTING
        world.stub.rooms |= rooms
        row = await reconciled(world, interview_id)
        assert row.status is Status.IN_PROGRESS
        assert row.started_at
        assert abs((row.started_at - ago(100)).total_seconds()) < 30

    async def test_an_arriving_participant_is_not_taken_for_gone(self, world: World) -> None:
        interview_id = await world.new()
        sid = await world.joins(interview_id, before=50, there=False)
        world.stub.join(room_name(interview_id, 1), CANDIDATE, sid=sid, joined_at=ago(50), arriving=True)
        assert (await reconciled(world, interview_id)).status is Status.WAITING_FOR_AGENT

    @pytest.mark.parametrize("webhook_first", [True, False])
    async def test_a_webhooks_leave_beats_an_inferred_one(self, world: World, webhook_first: bool) -> None:
        interview_id = await talking(world)
        await world.leaves(interview_id, AGENT, before=20, joined_before=100, webhook=False)
        tell = {"before": 20.0, "joined_before": 100.0, "reason": "CLIENT_INITIATED"}
        if webhook_first:
            await world.leaves(interview_id, AGENT, **tell)  # type: ignore[arg-type]
        await reconcile(world.context)
        if not webhook_first:
            assert (await world.row(interview_id)).status is Status.WAITING_FOR_AGENT
            await world.leaves(interview_id, AGENT, **tell)  # type: ignore[arg-type]
        row = await world.row(interview_id)
        assert (row.status, row.end_reason) == (Status.COMPLETED, EndReason.AGENT_LEFT)

    async def test_a_webhooks_join_after_an_inferred_one_changes_nothing(self, world: World) -> None:
        interview_id = await world.new()
        await world.talks(interview_id, before=50, webhook=False)
        before = await reconciled(world, interview_id)
        await world.talks(interview_id, before=50)
        after = await world.row(interview_id)
        assert (after.status, after.talking_since) == (before.status, before.talking_since)

    async def test_a_room_remade_between_the_two_questions(self, world: World) -> None:
        """ListRooms still showed the old room, ListParticipants already who is in the new one."""
        interview_id = await talking(world)

        async def remade() -> None:
            world.stub.before.clear()
            world.stub.rooms.clear()
            for identity in (CANDIDATE, AGENT):
                await world.joins(
                    interview_id, identity, before=1, sid=f"PA_2{identity}", room_sid="RM_2", webhook=False
                )

        world.stub.before["ListRooms"] = remade
        await reconcile(world.context)
        for identity in (CANDIDATE, AGENT):  # and now the webhooks arrive
            await world.joins(interview_id, identity, before=1, sid=f"PA_2{identity}", room_sid="RM_2")
        assert (await world.row(interview_id)).status is Status.IN_PROGRESS
        assert (await reconciled(world, interview_id)).status is Status.IN_PROGRESS

    async def test_a_snapshot_of_an_earlier_attempt_is_not_recorded(self, world: World) -> None:
        interview_id = await talking(world)
        world.stub.join(room_name(interview_id, 1), "agent-AJ_2", joined_at=ago(5))

        async def reopened() -> None:
            world.stub.before.clear()
            await world.cancels(interview_id)
            await world.reopens(interview_id)

        world.stub.before["ListParticipants"] = reopened
        row = await reconciled(world, interview_id)
        assert (row.attempt, row.status, row.asked_at) == (2, Status.READY_TO_JOIN, None)


class TestCost:
    async def test_rooms_that_match_the_listing_cost_no_request_and_no_write(self, world: World) -> None:
        """1,000 whose candidate is gone, in rooms that are still there."""
        await self._many(world, Status.RECONNECTING, connected=False)
        before = await self._written(world)
        await reconcile(world.context)
        assert dict(world.stub.calls) == {"ListRooms": 1}
        assert await self._written(world) == before

    async def test_a_conversation_as_stored_costs_a_request_and_no_write(self, world: World) -> None:
        await self._many(world, Status.IN_PROGRESS, connected=True, count=200)
        before = await self._written(world)
        await reconcile(world.context)
        assert dict(world.stub.calls) == {"ListRooms": 1, "ListParticipants": 200}
        assert await self._written(world) == before

    async def test_rooms_that_are_gone_cost_no_request(self, world: World) -> None:
        await self._many(world, Status.IN_PROGRESS, connected=True, count=50)
        world.stub.rooms.clear()
        await reconcile(world.context)
        assert dict(world.stub.calls) == {"ListRooms": 1}
        async with world.sessions() as session:
            assert set(await session.scalars(select(Interview.status))) == {Status.RECONNECTING}

    async def _many(self, world: World, status: Status, *, connected: bool, count: int = 1000) -> None:
        first = await talking(world)
        copies = text(
            """
            INSERT INTO interviews (id, organization_id, candidate_id, application_id, job_post_id, participant_name,
                phone_number, job_title, company_name, instructions, max_duration, status, started_at)
            SELECT gen_random_uuid(), organization_id, candidate_id, application_id, job_post_id, participant_name,
                phone_number, job_title, company_name, instructions, max_duration, :status, started_at
            FROM interviews, generate_series(2, :count) WHERE id = :first RETURNING id
            """
        )
        async with world.sessions.begin() as session:
            made = list(await session.scalars(copies, {"first": first, "count": count, "status": status}))
            await session.execute(
                text(
                    """
                    INSERT INTO rooms (interview_id, sid, attempt, created_at, recorded_at)
                    SELECT i.id, r.sid, 1, r.created_at, r.recorded_at FROM interviews i, rooms r
                    WHERE i.id <> :first AND r.interview_id = :first
                    """
                ),
                {"first": first},
            )
            await session.execute(
                text(
                    """
                    INSERT INTO connections (interview_id, sid, attempt, room_sid, identity, role, joined_at,
                        joined_order, recorded_at)
                    SELECT i.id, c.sid, 1, c.room_sid, c.identity, c.role, c.joined_at, c.joined_order, c.recorded_at
                    FROM interviews i, connections c WHERE i.id <> :first AND c.interview_id = :first
                    """
                ),
                {"first": first},
            )
            if not connected:
                await session.execute(
                    text("UPDATE connections SET left_at = now(), left_order = 9, leave_reason = 'CLIENT_INITIATED'")
                )
        example = world.stub.rooms[room_name(first, 1)]
        for interview_id in made:
            room = world.stub.open(room_name(interview_id, 1), created_at=example.created_at)
            room.participants = dict(example.participants)
        if not connected:
            for room in world.stub.rooms.values():
                room.participants = {}

    async def _written(self, world: World) -> list[object]:
        async with world.sessions() as session:
            versions = await session.scalars(text("SELECT xmin::text FROM interviews ORDER BY id"))
            rows = [
                await session.scalar(select(func.count()).select_from(each)) for each in (TimelineEntry, Connection)
            ]
            return [*versions, *rows]


class TestFaults:
    @pytest.mark.parametrize("fault", ["down", "500", "slow", "nonsense", "not_found"])
    async def test_livekit_away_changes_nothing(self, world: World, fault: str) -> None:
        interview_id = await talking(world)
        world.livekit_is(fault)
        with pytest.raises(LiveKitUnavailable):
            await reconcile(world.context)
        assert (await world.row(interview_id)).status is Status.IN_PROGRESS

    async def test_one_room_that_cannot_be_asked_does_not_hold_up_the_others(self, world: World) -> None:
        asked, gone = await talking(world), await talking(world)
        del world.stub.rooms[room_name(gone, 1)]
        world.stub.faults["ListParticipants"] = "500"
        await reconcile(world.context)
        assert (await world.row(asked)).status is Status.IN_PROGRESS
        assert (await world.row(gone)).status is Status.RECONNECTING

    async def test_one_poisoned_row_does_not_hold_up_the_others(self, world: World) -> None:
        poisoned, gone = await talking(world), await talking(world)
        await world.alter(poisoned, max_duration=10**15)
        world.stub.rooms.clear()
        await reconcile(world.context)
        assert (await world.row(gone)).status is Status.RECONNECTING


async def test_stored_states_are_found_by_indexes(own_engine: AsyncEngine) -> None:
    """However many interviews are over: this is asked every half minute."""
    await fill(own_engine, 20_000)
    async with own_engine.connect() as connection:
        explained = text("EXPLAIN " + LIVE_ROOM_STATES.text)
        plan = "\n".join((await connection.scalars(explained, {"listed": [uuid.uuid4()]})).all())
    assert "ix_interviews_live" in plan
    assert "ix_rooms_open" in plan
    assert "Seq Scan on interviews" not in plan

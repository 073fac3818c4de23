"""Roles where LiveKit was asked: the same as by webhook."""

import uuid

from sqlalchemy import select

from app.interviews.timeline import Entry
from app.lifecycle import Role, Status
from app.livekit.rooms import room_name
from app.models import Connection, TimelineEntry
from app.worker.reconcile import reconcile
from tests.worker.world import AGENT, CANDIDATE, World, ago

OURS, OTHERS = {"lk.agent_name": "interviewer"}, {"lk.agent_name": "transcriber"}


async def roles(world: World, interview_id: uuid.UUID) -> dict[str, Role]:
    async with world.sessions() as session:
        rows = await session.scalars(select(Connection).where(Connection.interview_id == interview_id))
        return {row.sid: row.role for row in rows}


async def checked(world: World, interview_id: uuid.UUID) -> list[str]:
    """Return the sentences of the snapshots on the timeline."""
    query = select(TimelineEntry).where(
        TimelineEntry.interview_id == interview_id, TimelineEntry.name == "room_checked"
    )
    async with world.sessions() as session:
        rows = await session.scalars(query.order_by(TimelineEntry.id))
        return [Entry(row.at, 0, row.id, row.attempt, row.kind, row.name, row.detail).sentence for row in rows]


async def test_hidden_agents_and_agents_of_another_name_are_no_interviewers(world: World) -> None:
    world.dispatching()
    interview_id = await world.new()
    room = room_name(interview_id, 1)
    await world.joins(interview_id, before=20, sid="PA_c")
    world.stub.join(room, AGENT, joined_at=ago(19), sid="PA_h", hidden=True, attributes=OURS)
    world.stub.join(room, "agent-AJ_2", joined_at=ago(18), sid="PA_t", attributes=OTHERS)
    await reconcile(world.context)
    assert (await world.row(interview_id)).status is Status.WAITING_FOR_AGENT
    world.stub.join(room, "agent-AJ_3", joined_at=ago(5), sid="PA_a", attributes=OURS)
    await reconcile(world.context)
    assert (await world.row(interview_id)).status is Status.IN_PROGRESS
    assert await roles(world, interview_id) == {
        "PA_c": Role.CANDIDATE, "PA_h": Role.OTHER, "PA_t": Role.OTHER, "PA_a": Role.AGENT
    }  # fmt: skip
    helpers = f"hidden helper agent {AGENT}, helper agent agent-AJ_2"
    asked = "LiveKit was asked who is in the room:"
    assert await checked(world, interview_id) == [
        f"{asked} the candidate, {helpers}. Newly found: {helpers}. Gone: nobody",
        f"{asked} the candidate, {helpers}, the agent agent-AJ_3. Newly found: the agent agent-AJ_3. Gone: nobody",
    ]


async def test_a_role_stays_whatever_a_later_snapshot_shows(world: World) -> None:
    world.dispatching()
    interview_id = await world.new()
    room = room_name(interview_id, 1)
    await world.joins(interview_id, before=20, sid="PA_c")
    await world.joins(interview_id, AGENT, before=19, sid="PA_a")
    world.stub.join(room, AGENT, joined_at=ago(19), sid="PA_a", attributes=OTHERS)
    world.stub.join(room, "recruiter-1", joined_at=ago(1), sid="PA_r")
    await reconcile(world.context)
    assert await roles(world, interview_id) == {"PA_c": Role.CANDIDATE, "PA_a": Role.AGENT, "PA_r": Role.OTHER}
    assert (await checked(world, interview_id))[0].startswith(
        f"LiveKit was asked who is in the room: the candidate, the agent {AGENT}, participant recruiter-1. "
    )
    assert (await world.row(interview_id)).status is Status.IN_PROGRESS


async def test_an_arriving_helper_does_not_hold_back_the_dispatch(world: World) -> None:
    world.dispatching()
    interview_id = await world.new()
    await world.joins(interview_id, CANDIDATE, before=40)
    room = room_name(interview_id, 1)
    world.stub.join(room, "agent-AJ_2", joined_at=ago(1), arriving=True, attributes=OTHERS)
    world.stub.join(room, "agent-AJ_3", joined_at=ago(1), arriving=True, hidden=True)
    await world.process_all_due()
    assert [each.agent_name for each in world.stub.dispatches[room]] == ["interviewer"]

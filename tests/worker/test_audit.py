"""The audit finds no difference in what the service wrote, and every manipulation."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from sqlalchemy import text, update

from app.interviews.counts import Miscount, compact_counts
from app.lifecycle import EndReason, Outcome, Status
from app.models import Connection, CountChange
from app.worker.audit import Difference, audit
from app.worker.reconcile import reconcile
from tests.worker.world import AGENT, World, ago

History = Callable[[World], Awaitable[uuid.UUID]]
DAY = 24 * 3600


async def untouched(world: World) -> uuid.UUID:
    return await world.new()


async def waiting(world: World) -> uuid.UUID:
    interview_id = await world.new()
    await world.joins(interview_id, before=10)
    return interview_id


async def talking(world: World) -> uuid.UUID:
    interview_id = await world.new()
    await world.talks(interview_id, before=100)
    return interview_id


async def reconnecting(world: World) -> uuid.UUID:
    interview_id = await talking(world)
    await world.leaves(interview_id, before=20, joined_before=100, reason="CONNECTION_TIMEOUT")
    return interview_id


async def completed(world: World) -> uuid.UUID:
    interview_id = await talking(world)
    await world.leaves(interview_id, AGENT, before=20, joined_before=100, outcome="completed")
    await world.leaves(interview_id, before=15, joined_before=100)
    return interview_id


async def failed(world: World) -> uuid.UUID:
    interview_id = await world.new()
    await world.joins(interview_id, before=200)
    await world.process_all_due()
    return interview_id


async def amended(world: World) -> uuid.UUID:
    interview_id = await world.new()
    await world.talks(interview_id, before=500)
    await world.leaves(interview_id, before=300, joined_before=500)
    await world.process_all_due()
    assert (await world.row(interview_id)).status is Status.ABANDONED
    await world.reports(interview_id, Outcome.COMPLETED)
    return interview_id


async def amended_by_a_late_leave(world: World) -> uuid.UUID:
    """The webhook of the agent's leave comes after the end that it corrects."""
    interview_id = await world.new()
    await world.talks(interview_id, before=500)
    await world.leaves(interview_id, before=300, joined_before=500)
    await world.process_all_due()
    assert (await world.row(interview_id)).status is Status.ABANDONED
    await world.leaves(interview_id, AGENT, before=170, joined_before=500, reason="ROOM_CLOSED", outcome="completed")
    row = await world.row(interview_id)
    assert (row.status, row.end_reason) == (Status.COMPLETED, EndReason.AGENT_REPORTED)
    assert [entry.name for entry in await world.entries(interview_id, "status")][-1] == "amended"
    return interview_id


async def late_leave_of_an_older_version(world: World) -> uuid.UUID:
    """A process of an older version stored the late leave, and nothing was amended."""
    interview_id = await world.new()
    await world.talks(interview_id, before=500)
    await world.leaves(interview_id, before=300, joined_before=500)
    await world.process_all_due()
    async with world.sessions.begin() as session:
        values = {"left_at": ago(170), "left_order": 10**6, "leave_reason": "ROOM_CLOSED", "outcome": "completed"}
        await session.execute(update(Connection).where(Connection.sid == f"PA_{AGENT}").values(values))
    assert (await world.process(interview_id)).status is Status.ABANDONED
    return interview_id


async def third_agent_is_missing(world: World) -> uuid.UUID:
    """Two agents crashed, and LiveKit does not show the third, of whose leave no webhook came."""
    interview_id = await world.new()
    await world.joins(interview_id, before=200)
    for number, (joined, left) in enumerate([(190, 170), (160, 140)]):
        agent = f"agent-AJ_{number}"
        await world.joins(interview_id, agent, before=joined)
        await world.leaves(interview_id, agent, before=left, joined_before=joined, outcome="pending")
    await world.joins(interview_id, "agent-AJ_3", before=130, there=False)
    await reconcile(world.context)
    return interview_id


async def lost_three_agents(world: World) -> uuid.UUID:
    """LiveKit never told of the third one's leave: it is asked twice."""
    interview_id = await third_agent_is_missing(world)
    row = await world.row(interview_id)
    assert (row.status, await world.is_due(interview_id)) == (Status.WAITING_FOR_AGENT, True)
    await world.process_all_due()
    row = await world.row(interview_id)
    assert (row.status, row.end_reason, row.decided_cause) == (Status.FAILED, EndReason.AGENT_UNAVAILABLE, "agent_lost")
    return interview_id


async def seemed_to_lose_the_third_agent(world: World) -> uuid.UUID:
    """The second look finds it, so nothing ends."""
    interview_id = await third_agent_is_missing(world)
    await world.joins(interview_id, "agent-AJ_3", before=130, webhook=False)
    await world.process_all_due()
    assert (await world.row(interview_id)).status is Status.IN_PROGRESS
    return interview_id


async def never_started(world: World) -> uuid.UUID:
    """The candidate has reconnected again and again, and is connected now."""
    interview_id = await world.new(closes_at=ago(1815))
    await world.gets_token(interview_id, before=4500)
    await world.gets_token(interview_id, before=100)
    await world.joins(interview_id, before=20, sid="PA_again")
    await world.process_all_due()
    row = await world.row(interview_id)
    assert (row.status, row.end_reason, row.decided_cause) == (
        Status.FAILED,
        EndReason.AGENT_UNAVAILABLE,
        "never_started",
    )
    assert row.ended_at == row.closes_at + timedelta(minutes=30) if row.closes_at else False
    return interview_id


async def cancelled(world: World) -> uuid.UUID:
    interview_id = await talking(world)
    await world.cancels(interview_id)
    await world.process_all_due()
    return interview_id


async def reopened(world: World) -> uuid.UUID:
    interview_id = await cancelled(world)
    await world.reopens(interview_id)
    return interview_id


async def completed_in_the_second_attempt(world: World) -> uuid.UUID:
    interview_id = await reopened(world)
    await world.talks(interview_id, before=0, attempt=2, room_sid="RM_2")
    await world.reports(interview_id, Outcome.COMPLETED)
    return interview_id


async def found_by_asking(world: World) -> uuid.UUID:
    interview_id = await world.new()
    await world.talks(interview_id, before=50, webhook=False)
    await reconcile(world.context)
    world.stub.rooms.clear()
    await reconcile(world.context)
    return interview_id


async def no_show(world: World) -> uuid.UUID:
    interview_id = await world.new(closes_at=ago(-50))
    await world.alter(interview_id, closes_at=ago(50), next_deadline_at=ago(50))
    await world.process_all_due()
    return interview_id


async def evidence_after_the_end(world: World) -> uuid.UUID:
    interview_id = await completed(world)
    await world.joins(interview_id, before=5, sid="PA_late", room_sid="RM_2")
    return interview_id


async def decided_without_livekit(world: World) -> uuid.UUID:
    world.stub.faults["*"] = "down"
    interview_id = await world.new()
    await world.joins(interview_id, before=DAY + 200)
    await world.process_all_due()
    world.stub.faults.clear()
    return interview_id


async def joined_again(world: World) -> uuid.UUID:
    """A token is issued after the last settling."""
    interview_id = await world.new()
    await world.gets_token(interview_id, before=5)
    return interview_id


ORDINARY: list[History] = [
    untouched,
    waiting,
    talking,
    reconnecting,
    completed,
    failed,
    amended,
    amended_by_a_late_leave,
    late_leave_of_an_older_version,
    lost_three_agents,
    seemed_to_lose_the_third_agent,
    never_started,
    cancelled,
    reopened,
    completed_in_the_second_attempt,
    found_by_asking,
    no_show,
    evidence_after_the_end,
    decided_without_livekit,
    joined_again,
]


async def found(world: World, **more: Any) -> list[Difference | Miscount]:
    return [
        each async for batch in audit(world.sessions, timeouts=world.timeouts, **more) for each in batch.differences
    ]


async def found_by_interview(world: World, **more: Any) -> list[Difference]:
    """Return the differences, all of them in interviews: the counts follow a changed row."""
    differences = await found(world, **more)
    assert all(isinstance(each, Difference) for each in differences)
    return cast(list[Difference], differences)


@pytest.mark.parametrize("history", ORDINARY)
async def test_nothing_is_found(world: World, history: History) -> None:
    await history(world)
    assert await found(world) == []


OVER = [completed, failed, amended, cancelled, completed_in_the_second_attempt, no_show, evidence_after_the_end]


@pytest.mark.parametrize("history", OVER)
async def test_nothing_is_found_after_an_erasure(world: World, history: History) -> None:
    """The facts still say the status: also after evidence that comes late, and once the room is put away."""
    interview_id = await history(world)
    before = await world.row(interview_id)
    await world.erases(interview_id)
    assert await found(world) == []
    attempt = before.attempt
    await world.joins(interview_id, before=1, sid="PA_back", room_sid=f"RM_{attempt}", attempt=attempt)
    await world.joins(interview_id, AGENT, before=1, sid="PA_too", room_sid=f"RM_{attempt}", attempt=attempt)
    await world.process(interview_id)
    assert await found(world) == []
    after = await world.row(interview_id)
    for name in ("status", "end_reason", "started_at", "ended_at", "talk_time"):
        assert getattr(after, name) == getattr(before, name)


TAMPERED: list[tuple[History, str, dict[str, Any]]] = [
    (untouched, "status", {"status": Status.IN_PROGRESS}),
    (talking, "status", {"status": Status.COMPLETED}),
    (talking, "status", {"status": Status.WAITING_FOR_AGENT}),
    (talking, "started_at", {"started_at": datetime(2026, 1, 1, tzinfo=UTC)}),
    (talking, "started_at", {"started_at": None}),
    (talking, "ended_at", {"ended_at": datetime(2026, 1, 1, tzinfo=UTC)}),
    (talking, "talk_time", {"talk_time": timedelta(hours=1)}),
    (talking, "end_reason", {"end_reason": EndReason.AGENT_LEFT}),
    (completed, "status", {"status": Status.ABANDONED}),
    (completed, "status", {"status": Status.ABANDONED, "decided_status": Status.ABANDONED}),
    (completed, "status", {"status": Status.IN_PROGRESS}),
    (completed, "end_reason", {"end_reason": EndReason.AGENT_LEFT}),
    (completed, "end_reason", {"end_reason": EndReason.AGENT_LEFT, "decided_end_reason": EndReason.AGENT_LEFT}),
    (completed, "started_at", {"started_at": datetime(2026, 1, 1, tzinfo=UTC)}),
    (completed, "ended_at", {"ended_at": datetime(2026, 1, 1, tzinfo=UTC)}),
    (completed, "talk_time", {"talk_time": timedelta(hours=1)}),
    (amended, "status", {"status": Status.ABANDONED}),
    (amended, "talk_time", {"talk_time": timedelta()}),
    (cancelled, "status", {"status": Status.NO_SHOW, "decided_status": Status.NO_SHOW}),
    (reopened, "status", {"status": Status.COMPLETED}),
]


@pytest.mark.parametrize(("history", "field", "values"), TAMPERED)
async def test_a_manipulated_field_is_found(world: World, history: History, field: str, values: dict[str, Any]) -> None:
    interview_id = await history(world)
    await untouched(world)
    await world.alter(interview_id, **values)
    differences = await found_by_interview(world)
    assert field in {each.field for each in differences}
    assert {each.interview_id for each in differences} == {interview_id}
    assert all(each.stored != each.expected for each in differences)


async def test_only_those_changed_since(world: World) -> None:
    interview_id = await waiting(world)
    await world.alter(interview_id, status=Status.COMPLETED, updated_at=ago(100))
    assert await found(world, since=ago(50)) == []
    assert await found(world, since=ago(200))


async def test_more_than_a_batch(world: World) -> None:
    made = [await untouched(world) for _ in range(5)]
    for interview_id in made:
        await world.alter(interview_id, status=Status.NO_SHOW)
    assert {each.interview_id for each in await found_by_interview(world, size=2)} == set(made)
    compared = [batch.compared async for batch in audit(world.sessions, timeouts=world.timeouts, size=2)]
    assert [each for each in compared if each] == [2, 2, 1]


async def test_counts_that_are_not_true_are_found(world: World) -> None:
    """Folded or not, too many, too few, of what is not there at all."""
    kept = await world.row(await untouched(world))
    await completed(world)
    async with world.sessions.begin() as session:
        await compact_counts(session)
        await session.execute(text("UPDATE interview_counts SET number = number + 2 WHERE status = 'READY_TO_JOIN'"))
        await session.execute(text("DELETE FROM interview_counts WHERE status = 'COMPLETED'"))
        session.add(
            CountChange(organization_id=kept.organization_id, job_post_id="nobody's", status="FAILED", number=1)
        )
    job_post = kept.job_post_id
    assert await found(world) == [
        Miscount(kept.organization_id, job_post, "COMPLETED", kept=0, there=1),
        Miscount(kept.organization_id, job_post, "READY_TO_JOIN", kept=3, there=1),
        Miscount(kept.organization_id, "nobody's", "FAILED", kept=1, there=0),
    ]
    assert await found(world, since=ago(DAY)) == []

"""Whatever the facts are: a processed interview is not due again at once, unless there are new facts."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.lifecycle import Outcome, Timeouts
from app.livekit.rooms import room_name
from tests.worker.world import AGENT, CANDIDATE, WITHOUT_DISPATCH, World, ago

EACH = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
REASONS = ("CLIENT_INITIATED", "CONNECTION_TIMEOUT", "ROOM_DELETED", "SERVER_SHUTDOWN")
DAY = 24 * 3600


@dataclass(frozen=True)
class Stay:
    identity: str
    joined: int
    left: int | None
    reason: str
    outcome: str
    webhook: bool
    leave_webhook: bool
    room_sid: str


@st.composite
def stays_of(draw: st.DrawFn) -> Stay:
    """Somebody's stay, in seconds before now; negative ones come of a clock of LiveKit's that is ahead."""
    joined = draw(st.sampled_from((-300, -5, 0, 20, 40, 100, 200, 700, 860, 1000, 4000, DAY + 300)))
    left = draw(st.none() | st.sampled_from((-300, -1, 0, 10, 30, 125, 150, 3000)))
    return Stay(
        identity=draw(st.sampled_from((CANDIDATE, AGENT, "agent-AJ_2"))),
        joined=joined,
        left=left,
        reason=draw(st.sampled_from(REASONS)),
        outcome=draw(st.sampled_from(("", "pending", "completed", "failed"))),
        webhook=draw(st.booleans()),
        leave_webhook=draw(st.booleans()),
        room_sid=draw(st.sampled_from(("RM_1", "RM_1", "RM_2"))),
    )


@given(
    stays=st.lists(stays_of(), max_size=4),
    plan=st.fixed_dictionaries({"max_duration": st.sampled_from((60, 300, 900, 3600))}),
    closes=st.none() | st.sampled_from((-600, 5, 500, DAY + 500)),
    token=st.none() | st.sampled_from((-5, 0, 100, 200, DAY + 1)),
    action=st.sampled_from(("", "", "cancel", "completed", "failed")),
    dispatching=st.booleans(),
)
@EACH
async def test_nothing_stays_due(
    world: World,
    stays: list[Stay],
    plan: dict[str, int],
    closes: int | None,
    token: int | None,
    action: str,
    dispatching: bool,
) -> None:
    world.timeouts, world.agent_name = (Timeouts(), "interviewer") if dispatching else (WITHOUT_DISPATCH, "")
    interview_id = await world.new(**plan)
    if closes is not None:
        await world.alter(interview_id, closes_at=ago(closes), next_deadline_at=ago(closes))
    if token is not None:
        await world.gets_token(interview_id, before=token)
    for number, stay in enumerate(stays):
        await world.joins(
            interview_id,
            stay.identity,
            before=stay.joined,
            sid=f"PA_{number}",
            room_sid=stay.room_sid,
            webhook=stay.webhook,
        )
        if stay.left is not None:
            await world.leaves(
                interview_id,
                stay.identity,
                before=stay.left,
                joined_before=stay.joined,
                sid=f"PA_{number}",
                reason=stay.reason,
                outcome=stay.outcome if stay.identity != CANDIDATE else "",
                webhook=stay.leave_webhook,
                room_sid=stay.room_sid,
            )
    row = await world.row(interview_id)
    if action == "cancel" and not row.status.is_terminal:
        await world.cancels(interview_id)
    elif action and action != "cancel" and row.started_at and row.status != "CANCELLED":
        await world.reports(interview_id, Outcome(action))
    await world.alter(interview_id, next_deadline_at=ago(1))
    processed = 0
    while await world.is_due(interview_id):
        assert processed < 3, (await world.row(interview_id)).status
        await world.process(interview_id)
        processed += 1
    row = await world.row(interview_id)
    assert row.failures == 0, [entry.detail for entry in await world.entries(interview_id, "service")]
    if row.status.is_terminal and row.leased_until is None and row.next_deadline_at is None and processed:
        known = room_name(interview_id, 1) in world.stub.rooms and row.room_gone_at
        assert not known, "the room of an ended attempt is still there, and no effect deletes it"

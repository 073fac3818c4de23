"""Which agents count, with agents that a real LiveKit server dispatched: it tells their names and who is hidden."""

from collections.abc import Iterator

import pytest
from livekit import api

from tests.e2e.agent_worker import AgentWorker
from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview, Schedule
from tests.e2e.outages import OwnStack
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    with own_stack(AGENT_NAME="interviewer", DISPATCH_AFTER=300, AGENT_WAIT=600, RECONCILE_EVERY=1) as running:
        yield running


async def roles(interview: Interview) -> list[str]:
    return sorted(who["role"] for who in (await interview.platform.read(interview.id))["connected"])


async def has_roles(interview: Interview, *expected: str) -> bool:
    return await roles(interview) == sorted(expected)


async def test_only_an_agent_of_our_name_that_can_be_seen_is_the_interviewer(
    schedule: Schedule, livekit_api: api.LiveKitAPI, stack: Stack
) -> None:
    interview = await schedule()
    await interview.candidate()
    # the server's word counts, not the worker's
    transcriber = AgentWorker(stack.livekit, "transcriber", attributes={"lk.agent_name": "interviewer"})
    listener = AgentWorker(stack.livekit, "listener", hidden=True)
    ours = AgentWorker(stack.livekit, "interviewer", attributes={"interview.outcome": "pending"})
    async with transcriber.running(), listener.running(), ours.running():
        for worker in (transcriber, listener):
            await dispatch(livekit_api, worker, interview)
        await eventually(lambda: has_roles(interview, "CANDIDATE", "OTHER", "OTHER"))
        assert (await interview.platform.status(interview.id))[0] == "WAITING_FOR_AGENT"

        await dispatch(livekit_api, ours, interview)
        await interview.becomes("IN_PROGRESS")
        await transcriber.rooms[0].local_participant.set_attributes({"lk.agent_name": "interviewer"})
        await eventually(lambda: has_attribute(livekit_api, interview, transcriber))
        assert await roles(interview) == ["AGENT", "CANDIDATE", "OTHER", "OTHER"]

        await ours.rooms[0].local_participant.set_attributes({"interview.outcome": "completed"})
        await ours.rooms[0].disconnect()
        await interview.becomes("COMPLETED", "AGENT_REPORTED")
    lines = [line["text"] for line in await interview.lines("livekit", "participant_joined")]
    assert sorted(line.partition(" agent")[0] for line in lines) == [
        "Helper", "Hidden helper", "The", "The candidate joined"
    ]  # fmt: skip


async def dispatch(livekit: api.LiveKitAPI, worker: AgentWorker, interview: Interview) -> None:
    request = api.CreateAgentDispatchRequest(room=interview.room(), agent_name=worker.name)
    await livekit.agent_dispatch.create_dispatch(request)
    await eventually(lambda: bool(worker.rooms))


async def has_attribute(livekit: api.LiveKitAPI, interview: Interview, worker: AgentWorker) -> bool:
    """Return whether LiveKit shows the changed name."""
    listed = await livekit.room.list_participants(api.ListParticipantsRequest(room=interview.room()))
    names = {who.identity: who.attributes["lk.agent_name"] for who in listed.participants}
    return names[worker.rooms[0].local_participant.identity] == "interviewer"

"""Dispatches of a named agent, on a real LiveKit server without agent workers."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from livekit import api

from tests.e2e.conditions import eventually
from tests.e2e.interview import Schedule
from tests.e2e.outages import OwnStack, rounds
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

DISPATCH_AFTER = 6  # seconds, enough for an agent to join on a busy machine


@pytest.fixture(scope="module")
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    timeouts = {"DISPATCH_AFTER": DISPATCH_AFTER, "AGENT_WAIT": 60, "RECONCILE_EVERY": 1}
    with own_stack(AGENT_NAME="interviewer", **timeouts) as running:
        yield running


async def dispatches(livekit: api.LiveKitAPI, room: str) -> list[str]:
    """Return the metadata of the service's dispatches; LiveKit's own, from the token, has none."""
    listed = await livekit.agent_dispatch.list_dispatch(room)
    assert {each.agent_name for each in listed} == {"interviewer"}
    return sorted(each.metadata for each in listed if each.metadata)


@pytest.mark.slow
async def test_one_agent_is_dispatched_for_each_loss(
    schedule: Schedule, livekit_api: api.LiveKitAPI, stack: Stack
) -> None:
    interview = await schedule()
    await interview.candidate()
    (line,) = await interview.shows("service", "agent_dispatched")
    (candidate,) = (await interview.platform.read(interview.id))["connected"]
    waited = datetime.fromisoformat(line["at"]) - datetime.fromisoformat(candidate["joinedAt"])
    assert waited > timedelta(seconds=DISPATCH_AFTER - 1)  # LiveKit's clock differs by milliseconds
    await rounds(stack, 3)
    assert await dispatches(livekit_api, interview.room()) == ["interview.dispatch=1"]

    agent = await interview.agent("pending")
    await interview.becomes("IN_PROGRESS")
    await agent.leave()
    await interview.becomes("WAITING_FOR_AGENT")
    await eventually(lambda: _second(livekit_api, interview.room()))
    await rounds(stack, 3)
    assert await dispatches(livekit_api, interview.room()) == ["interview.dispatch=1", "interview.dispatch=2"]
    lines = await interview.lines("service", "agent_dispatched")
    assert [line["detail"] for line in lines] == [{"number": 1}, {"number": 2}]


async def _second(livekit: api.LiveKitAPI, room: str) -> bool:
    return "interview.dispatch=2" in await dispatches(livekit, room)


async def test_no_agent_is_dispatched_when_one_joins_in_time(
    schedule: Schedule, livekit_api: api.LiveKitAPI, stack: Stack
) -> None:
    interview = await schedule()
    await interview.candidate()
    await interview.agent()
    await interview.becomes("IN_PROGRESS")
    await rounds(stack, DISPATCH_AFTER + 2)
    assert await dispatches(livekit_api, interview.room()) == []

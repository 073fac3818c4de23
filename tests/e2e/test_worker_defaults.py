"""An interview with the default waits. `pytest -s` prints its timeline; docs/a-run.md shows one."""

import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.e2e.conditions import eventually
from tests.e2e.interview import Schedule
from tests.e2e.outages import OwnStack, is_out
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    with own_stack() as running:
        yield running
        sys.stdout.write(f"the service's log: {running.service.log}\n")


async def test_a_candidate_who_drops_for_good_has_two_minutes(stack: Stack, schedule: Schedule) -> None:
    interview = await schedule()
    agent = await interview.agent("pending")
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await candidate.leave()
    await interview.becomes("RECONNECTING")
    (left,) = [line["at"] for line in await interview.lines("livekit", "participant_left")]
    over = await interview.becomes("ABANDONED", "CANDIDATE_LEFT", within=180)
    # LiveKit dates the leave to a whole second, and the grace counts from that second's end
    waited = datetime.fromisoformat(over["endedAt"]) - datetime.fromisoformat(left)
    assert timedelta(seconds=119) < waited <= timedelta(seconds=121)
    assert agent.disconnect_reason is None
    await eventually(is_out(agent, "ROOM_CLOSED"))  # the room outlives the grace by 5 s
    assert await interview.path() == ["IN_PROGRESS", "RECONNECTING", "ABANDONED"]
    sys.stdout.write("\n".join(["", *await interview.story(), ""]))

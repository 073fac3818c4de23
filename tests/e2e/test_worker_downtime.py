"""The service is killed with SIGKILL, while people talk, join and leave."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.e2e.clients import Join
from tests.e2e.conditions import HOPELESS, eventually
from tests.e2e.interview import Schedule
from tests.e2e.outages import OwnStack
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PERIOD = 4  # seconds between two rounds of the reconciler
OUTAGE = 40  # seconds; LiveKit drops what it could not deliver for 30
GRACE = OUTAGE + 20  # so that a room stays open after its candidate left, until the service is back


@pytest.fixture
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    with own_stack(CANDIDATE_GRACE=GRACE, AGENT_WAIT=60, GOODBYE=1, RECONCILE_EVERY=PERIOD) as running:
        yield running


async def test_the_service_is_down_while_people_join_and_leave(
    stack: Stack, schedule: Schedule, platform: Platform, join: Join
) -> None:
    """After the restart the service gets the state from LiveKit's API, because the webhooks are lost."""
    talking, meeting, dropping, parting, finished = [await schedule() for _ in range(5)]
    agents = [await each.agent("pending") for each in (talking, dropping, parting, finished)]
    candidates = [await each.candidate() for each in (talking, dropping, parting, finished)]
    began, *_ = [await each.becomes("IN_PROGRESS") for each in (talking, dropping, parting, finished)]
    unconnected_candidate = await meeting.unconnected_candidate()

    stack.service.kill()
    await join(unconnected_candidate)
    await meeting.agent("pending")
    await candidates[1].leave()
    await candidates[2].leave()
    await agents[2].leave()
    await agents[3].announce("completed")
    await agents[3].leave()
    await asyncio.sleep(OUTAGE)  # the outage itself
    back_at = datetime.now(UTC)
    stack.service.start()

    met = await meeting.becomes("IN_PROGRESS")
    await dropping.becomes("RECONNECTING")
    await parting.becomes("RECONNECTING")
    await finished.becomes("WAITING_FOR_AGENT")
    assert datetime.fromisoformat(met["startedAt"]) < back_at  # LiveKit's API reports when they joined
    assert await talking.path() == ["IN_PROGRESS"]
    assert (await platform.read(talking.id))["startedAt"] == began["startedAt"]

    # the agent's announcement was lost with its webhook, so the agent reports by the API
    await platform.complete(finished.id, finished.room(), "completed")
    await finished.becomes("COMPLETED", "AGENT_REPORTED")
    await dropping.becomes("FAILED", "CONNECTION_LOST", within=GRACE + HOPELESS)
    # LiveKit may deliver the agent's leave only: then nothing shows that the candidate left first
    unknowable = {("FAILED", "CONNECTION_LOST"), ("FAILED", "AGENT_UNAVAILABLE")}
    await eventually(lambda: _ended(platform, parting.id, unknowable), within=GRACE + HOPELESS)
    assert await talking.path() == ["IN_PROGRESS"]


async def _ended(platform: Platform, interview_id: str, ends: set[tuple[str, str]]) -> bool:
    return await platform.status(interview_id) in ends

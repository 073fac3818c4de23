"""The LiveKit server is killed with SIGKILL, while people talk."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.conditions import HOPELESS, eventually
from tests.e2e.interview import Schedule
from tests.e2e.outages import OwnStack, shorten
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PERIOD = 4  # seconds between two rounds of the reconciler
GRACE = 30  # seconds, in which clients reconnect after LiveKit's restart
TALK = 20  # seconds, for a conversation that ends while LiveKit is down


@pytest.fixture
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    with own_stack(CANDIDATE_GRACE=GRACE, AGENT_WAIT=60, GOODBYE=1, RECONCILE_EVERY=PERIOD) as running:
        yield running


async def test_livekit_dies_and_is_back(stack: Stack, schedule: Schedule, platform: Platform) -> None:
    """Remaining clients reconnect with new sids in a new room; the service detects that the others have left."""
    lasting, losing = await schedule(), await schedule()
    agent = await lasting.agent("pending")
    await lasting.candidate()
    await losing.agent("pending")
    lost = await losing.candidate_process()
    began = await lasting.becomes("IN_PROGRESS")
    await losing.becomes("IN_PROGRESS")

    killed_at = datetime.now(UTC)
    stack.livekit.kill()
    lost.vanish()
    stack.livekit.start()

    async def both_are_back() -> dict[str, Any]:
        found = await platform.read(lasting.id)
        assert found["status"] == "IN_PROGRESS"
        came = [datetime.fromisoformat(each["joinedAt"]) for each in found["connected"]]
        assert len(came) == 2, found["connected"]
        assert min(came) > killed_at, found["connected"]
        return found

    again = await eventually(both_are_back)
    assert again["startedAt"] == began["startedAt"]
    await losing.becomes("FAILED", "CONNECTION_LOST", within=GRACE + HOPELESS)
    await agent.announce("completed")
    await agent.leave()
    await lasting.becomes("COMPLETED", "AGENT_REPORTED")


async def test_livekit_is_gone_for_long(stack: Stack, schedule: Schedule, platform: Platform) -> None:
    """Nothing is decided while LiveKit is unreachable, and nothing hangs after that."""
    quiet, timed = await schedule(), await schedule()
    await shorten(timed, TALK)
    agents = [await each.agent_process("pending") for each in (quiet, timed)]
    candidates = [await each.candidate_process() for each in (quiet, timed)]
    await quiet.becomes("IN_PROGRESS")
    await timed.becomes("IN_PROGRESS")

    stack.livekit.kill()
    for agent, candidate in zip(agents, candidates, strict=True):
        agent.vanish()
        candidate.vanish()
    (line,) = await timed.shows("service", "postponed", within=TALK + HOPELESS)
    assert "LiveKit did not answer" in line["text"]
    await eventually(lambda: _postponed_again(platform))
    assert await platform.status(timed.id) == ("IN_PROGRESS", None)
    assert await platform.status(quiet.id) == ("IN_PROGRESS", None)

    stack.livekit.start()
    within = 60 + HOPELESS  # it is retried at least once a minute
    over = await timed.becomes("COMPLETED", "MAX_DURATION_REACHED", within=within)
    assert over["talkTime"] == TALK
    assert await timed.path() == ["IN_PROGRESS", "COMPLETED"]
    assert len(await timed.lines("service", "postponed")) == 1
    await quiet.becomes("FAILED", "CONNECTION_LOST", within=GRACE + HOPELESS)
    assert await quiet.path() == ["IN_PROGRESS", "RECONNECTING", "FAILED"]


async def _postponed_again(platform: Platform) -> bool:
    return await platform.metric("interviews_put_off_total") >= 3

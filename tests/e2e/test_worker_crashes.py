"""Clients that are killed, on a real LiveKit server, which notices some 20 s later: CONNECTION_TIMEOUT."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.conditions import eventually
from tests.e2e.interview import Schedule
from tests.e2e.outages import OwnStack, is_out
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NOTICED = 60  # seconds within which LiveKit notices and sends the webhook, even on a busy machine


@pytest.fixture(scope="module")
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    """The waits exceed the 20 s, because they count from the death, not from its detection."""
    with own_stack(CANDIDATE_GRACE=40, AGENT_WAIT=40, GOODBYE=1, RECONCILE_EVERY=5) as running:
        yield running


async def test_the_candidate_dies_and_is_back(schedule: Schedule) -> None:
    interview = await schedule()
    await interview.agent("pending")
    candidate = await interview.candidate_process()
    started = await interview.becomes("IN_PROGRESS")
    candidate.vanish()
    await interview.becomes("RECONNECTING", within=NOTICED)
    await interview.candidate()
    again = await interview.becomes("IN_PROGRESS")
    assert again["startedAt"] == started["startedAt"]
    assert await interview.path() == ["IN_PROGRESS", "RECONNECTING", "IN_PROGRESS"]


async def test_the_candidate_freezes_and_thaws(schedule: Schedule) -> None:
    """Its client reconnects by itself with its old token."""
    interview = await schedule()
    await interview.agent("pending")
    candidate = await interview.candidate_process()
    await interview.becomes("IN_PROGRESS")
    candidate.freeze()
    await interview.becomes("RECONNECTING", within=NOTICED)
    candidate.thaw()
    found = await interview.becomes("IN_PROGRESS")
    assert found["joinAttempts"] == 1
    assert await interview.path() == ["IN_PROGRESS", "RECONNECTING", "IN_PROGRESS"]


async def test_the_candidate_dies_for_good(schedule: Schedule) -> None:
    interview = await schedule()
    agent = await interview.agent("pending")
    candidate = await interview.candidate_process()
    await interview.becomes("IN_PROGRESS")
    candidate.vanish()
    await interview.becomes("FAILED", "CONNECTION_LOST", within=NOTICED + 40)
    assert await interview.path() == ["IN_PROGRESS", "RECONNECTING", "FAILED"]
    await eventually(is_out(agent))
    await interview.candidate(microphone=False)
    again = await interview.becomes("WAITING_FOR_AGENT")
    assert (again["attempt"], again["roomName"]) == (2, interview.room(2))


async def test_agents_die(schedule: Schedule) -> None:
    """The agent's announcement decides; a silent agent that dies has not left on purpose."""
    silent, pending, completed = [await schedule() for _ in range(3)]
    agents = []
    for interview, outcome in ((silent, ""), (pending, "pending"), (completed, "completed")):
        await interview.candidate(microphone=False)
        agents.append(await interview.agent_process(outcome))
    await asyncio.gather(*(each.becomes("IN_PROGRESS") for each in (silent, pending, completed)))
    for agent in agents:
        agent.vanish()
    await completed.becomes("COMPLETED", "AGENT_REPORTED", within=NOTICED)
    await silent.becomes("WAITING_FOR_AGENT", within=NOTICED)
    await silent.agent()
    await silent.becomes("IN_PROGRESS")
    await pending.becomes("FAILED", "AGENT_UNAVAILABLE", within=NOTICED)
    assert (await pending.path())[-3:] == ["IN_PROGRESS", "WAITING_FOR_AGENT", "FAILED"]

"""Two services on one database, both with all of LiveKit's webhooks, while many interviews are due at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from livekit import api

from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview, Schedule
from tests.e2e.outages import OwnStack, fetch, rounds, shorten
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EACH = 6  # interviews of a kind


@pytest.fixture(scope="module")
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    timeouts = {"CANDIDATE_GRACE": 4, "AGENT_WAIT": 30, "DISPATCH_AFTER": 2, "GOODBYE": 1, "RECONCILE_EVERY": 1}
    with own_stack(replicas=1, AGENT_NAME="interviewer", **timeouts) as running:
        yield running


@pytest.fixture
async def platforms(stack: Stack) -> AsyncIterator[list[Platform]]:
    """A platform for each service."""
    async with AsyncExitStack() as closing:
        made = [Platform(service) for service in stack.services]
        for each in made:
            closing.push_async_callback(each.aclose)
        yield made


async def test_everything_is_done_once(
    stack: Stack, schedule: Schedule, platforms: list[Platform], livekit_api: api.LiveKitAPI
) -> None:
    alone, timed, dropped, cancelled = [[await schedule() for _ in range(EACH)] for _ in range(4)]
    every = [*alone, *timed, *dropped, *cancelled]
    reading = asyncio.create_task(_read_on(platforms, every))
    for interview in timed:
        await shorten(interview, 8)
    await asyncio.gather(*(each.agent("pending") for each in (*timed, *dropped, *cancelled)))
    candidates = await asyncio.gather(*(each.candidate(microphone=False) for each in (*dropped, *alone)))
    await asyncio.gather(*(each.candidate(microphone=False) for each in (*timed, *cancelled)))
    await asyncio.gather(*(each.becomes("IN_PROGRESS") for each in dropped))
    await asyncio.gather(*(each.leave() for each in candidates[:EACH]))
    await asyncio.gather(*(platform.cancel(each.id) for each in cancelled for platform in platforms))

    await asyncio.gather(*(each.shows("service", "agent_dispatched") for each in alone))
    await rounds(stack, 2)
    for each in alone:
        listed = await livekit_api.agent_dispatch.list_dispatch(each.room())
        assert [one.metadata for one in listed if one.metadata] == ["interview.dispatch=1"]
    await asyncio.gather(
        *(each.becomes("FAILED", "AGENT_UNAVAILABLE", within=90) for each in alone),
        *(each.becomes("COMPLETED", "MAX_DURATION_REACHED", within=90) for each in timed),
        *(each.becomes("ABANDONED", "CANDIDATE_LEFT", within=90) for each in dropped),
        *(each.becomes("CANCELLED", within=90) for each in cancelled),
    )
    await eventually(lambda: _no_rooms(livekit_api))
    reading.cancel()

    for each in every:
        ends = [line for line in await each.lines("status") if line["detail"]["endedAt"]]
        assert len(ends) == 1, ends
        assert len(await each.shows("service", "room_deleted")) == 1
        assert len(await each.lines("call", "cancelled")) == (each in cancelled)
        assert len(await each.lines("service", "agent_dispatched")) == (each in alone)
    for cause in ("agent_missing", "max_duration", "candidate_gone", "cancelled"):
        sample = f'interviews_decisions_total{{cause="{cause}"}}'
        assert sum([await platform.metric(sample) for platform in platforms]) == EACH
    assert sum([await platform.metric("interviews_worker_errors_total") for platform in platforms]) == 0
    assert await fetch(stack, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    assert not [service.log for service in stack.services if "deadlock" in service.log.read_text()]


async def _read_on(platforms: list[Platform], interviews: list[Interview]) -> None:
    """Generate load until cancelled."""
    while True:
        for platform in platforms:
            await asyncio.gather(*(platform.read(each.id) for each in interviews))
            await asyncio.gather(*(platform.timeline(each.id) for each in interviews))


async def _no_rooms(livekit: api.LiveKitAPI) -> bool:
    return not (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms

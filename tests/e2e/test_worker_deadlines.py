"""Deadlines on a real LiveKit server: which interviews end, and which participants are removed."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from livekit import api

from tests.e2e.conditions import eventually
from tests.e2e.interview import Schedule
from tests.e2e.outages import OwnStack, audit, execute, is_out
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    with own_stack(CANDIDATE_GRACE=3, AGENT_WAIT=6, TOKEN_WAIT=2, GOODBYE=1, RECONCILE_EVERY=2) as running:
        yield running


def soon(seconds: float = 6) -> str:
    """Return an instant far enough ahead to schedule and join on a busy machine."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.slow
async def test_a_candidate_whom_no_agent_joins_gets_three_attempts(
    schedule: Schedule, platform: Platform, livekit_api: api.LiveKitAPI
) -> None:
    interview = await schedule()
    for attempt in (1, 2, 3):
        candidate = await interview.candidate(microphone=False)
        assert candidate.room.name == interview.room(attempt)
        over = await interview.becomes("FAILED", "AGENT_UNAVAILABLE")
        assert (over["attempt"], over["startedAt"]) == (attempt, None)
        await eventually(is_out(candidate))
        assert await interview.path(attempt) == ["WAITING_FOR_AGENT", "FAILED"]
    refused = await platform.refused(interview.id)
    assert (refused["code"], refused["interviewStatus"]) == ("interview_over", "FAILED")
    rooms = await livekit_api.room.list_rooms(api.ListRoomsRequest())
    assert interview.id not in " ".join(room.name for room in rooms.rooms)


async def test_a_candidate_who_leaves_on_purpose_and_stays_away(schedule: Schedule) -> None:
    interview = await schedule()
    agent = await interview.agent()
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await candidate.leave()
    over = await interview.becomes("ABANDONED", "CANDIDATE_LEFT")
    assert await interview.path() == ["IN_PROGRESS", "RECONNECTING", "ABANDONED"]
    assert over["talkTime"] >= 0
    await eventually(is_out(agent))


async def test_nobody_joins(schedule: Schedule) -> None:
    interview = await schedule(closesAt=soon())
    over = await interview.becomes("NO_SHOW")
    assert over["endedAt"] == over["closesAt"]
    assert over["joinAttempts"] == 0


async def test_a_token_led_to_no_connection(schedule: Schedule, platform: Platform) -> None:
    interview = await schedule(closesAt=soon())
    await platform.join(interview.id)
    await interview.becomes("FAILED", "CANDIDATE_CONNECTION_FAILED")


async def test_the_candidate_looked_in_and_left_before_it_started(schedule: Schedule) -> None:
    interview = await schedule(closesAt=soon())
    candidate = await interview.candidate(microphone=False)
    await interview.becomes("WAITING_FOR_AGENT")
    await candidate.leave()
    await interview.becomes("ABANDONED", "LEFT_BEFORE_START")
    assert await interview.path() == ["WAITING_FOR_AGENT", "READY_TO_JOIN", "ABANDONED"]


async def test_audit_reports_a_row_that_was_tampered_with(schedule: Schedule, platform: Platform, stack: Stack) -> None:
    interview, reopened = await schedule(), await schedule()
    for each in (interview, reopened):
        await platform.cancel(each.id)
    await platform.reopen(reopened.id)
    clean = await asyncio.to_thread(audit, stack.service)
    assert clean.code == 0, clean.output
    tamper = "UPDATE interviews SET status = $1 WHERE id::text = $2"
    await execute(stack, tamper, "COMPLETED", interview.id)
    found = await asyncio.to_thread(audit, stack.service)
    await execute(stack, tamper, "CANCELLED", interview.id)
    assert found.code == 1
    assert f"{interview.id} status: COMPLETED, by its facts CANCELLED" in found.output
    assert f"{interview.id} status: COMPLETED, by its timeline CANCELLED" in found.output

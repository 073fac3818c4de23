"""livekit-client's TokenSource.endpoint in a real browser, unmodified, on the standard token endpoint."""

import json

import pytest

from tests.e2e.agent import Agent
from tests.e2e.browser import InterviewPage
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.platform import SEED_METADATA, Platform
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


async def test_a_token_source_joins_the_room(stack: Stack, platform: Platform, page: InterviewPage, join: Join) -> None:
    made = await platform.schedule()
    agent = await join(Agent(stack.livekit, made["roomName"]))

    await page.join_by_token_source(stack.service.url, made["interviewId"], roomName=made["roomName"])

    assert (await page.state())["error"] is None
    identity = f"candidate-{made['candidateId']}"
    arrival = await eventually(lambda: agent.arrival(identity))
    assert json.loads(arrival.metadata) == {**SEED_METADATA, "interviewId": made["interviewId"]}
    await eventually(lambda: agent.hears(identity))
    await eventually(lambda: _is_in_progress(platform, made["interviewId"]))
    assert (await platform.read(made["interviewId"]))["joinAttempts"] == 1  # fetched twice, kept by the client
    await page.leave()


async def test_fetching_ahead_is_not_joining(stack: Stack, platform: Platform, page: InterviewPage) -> None:
    made = await platform.schedule()
    await page.tab.evaluate(
        "url => LivekitClient.TokenSource.endpoint(url).fetch({})",
        f"{stack.service.url}/interviews/{made['interviewId']}/token",
    )
    assert await platform.status(made["interviewId"]) == ("READY_TO_JOIN", None)


async def test_the_page_gets_the_error_for_a_field_that_it_may_not_set(
    stack: Stack, platform: Platform, page: InterviewPage
) -> None:
    made = await platform.schedule()
    await page.join_by_token_source(stack.service.url, made["interviewId"], participantIdentity="admin")
    error = (await page.state())["error"]
    assert error is not None
    assert "422" in error
    assert "token_field_not_allowed" in error


async def _is_in_progress(platform: Platform, interview_id: str) -> bool:
    return (await platform.status(interview_id))[0] == "IN_PROGRESS"

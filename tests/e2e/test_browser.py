"""The seed's frontend, verbatim, in a real browser with our joinResponse."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.agent import Agent
from tests.e2e.browser import InterviewPage
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.platform import SEED_METADATA, Platform
from tests.e2e.stack import Stack, start_stack

pytestmark = pytest.mark.e2e

PHONE = "966509876543"


@pytest.fixture(scope="module")
def lenient_stack(
    livekit_binary: Path, origin: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A deployment whose operator allows candidates to replace their metadata."""
    folder = tmp_path_factory.mktemp("lenient")
    env = {"CLIENT_METADATA_UPDATES": "true"}
    with start_stack(livekit_binary, folder, database_url=new_database(), origin=origin, env=env) as running:
        yield running


@pytest.fixture
async def lenient_platform(lenient_stack: Stack) -> AsyncIterator[Platform]:
    platform = Platform(lenient_stack.service)
    yield platform
    await platform.aclose()


async def test_the_seeds_frontend_word_for_word_where_metadata_updates_are_allowed(
    lenient_stack: Stack, lenient_platform: Platform, page: InterviewPage, join: Join
) -> None:
    made = await lenient_platform.schedule()
    agent = Agent(lenient_stack.livekit, made["roomName"])
    printed = agent.run_seed_handler()
    await join(agent)

    answer = await page.join(lenient_stack.service.url, made["interviewId"], PHONE)

    assert answer.status == 200
    state = await page.state()
    assert (state["error"], state["consoleErrors"], state["isCallActive"]) == (None, [], True)
    assert state["statuses"][:3] == ["ready", "connecting", "waiting"]
    identity = f"candidate-{made['candidateId']}"
    arrival = await eventually(lambda: agent.arrival(identity))
    assert json.loads(arrival.metadata) == {**SEED_METADATA, "interviewId": made["interviewId"]}
    assert f"Interview ID: {made['interviewId']}" in printed
    await eventually(lambda: agent.hears(identity))
    await eventually(lambda: _has_status(lenient_platform, made["interviewId"], "IN_PROGRESS"))
    await page.leave()
    await eventually(lambda: _has_status(lenient_platform, made["interviewId"], "RECONNECTING"))


async def test_the_seeds_frontend_word_for_word_with_the_number_as_stored(
    stack: Stack, platform: Platform, page: InterviewPage, join: Join
) -> None:
    """The client does not wait for LiveKit's refusal if the text equals the token's metadata byte for byte."""
    texts = {"participantName": 'فاطمة "Fatima" 👩🏽‍💻', "jobTitle": "<b>R&D</b>"}
    made = await platform.schedule(**texts)
    agent = await join(Agent(stack.livekit, made["roomName"]))

    await page.join(stack.service.url, made["interviewId"], PHONE)

    state = await page.state()
    assert (state["error"], state["consoleErrors"], state["isCallActive"]) == (None, [], True)
    identity = f"candidate-{made['candidateId']}"
    arrival = await eventually(lambda: agent.arrival(identity))
    assert {name: json.loads(arrival.metadata)[name] for name in texts} == texts
    await page.leave()


async def test_another_text_is_refused_without_that_setting_and_the_agents_metadata_stays_ours(
    stack: Stack, platform: Platform, page: InterviewPage, join: Join
) -> None:
    made = await platform.schedule()
    agent = await join(Agent(stack.livekit, made["roomName"]))

    answer = await page.join(stack.service.url, made["interviewId"], "0000000")

    assert answer.status == 200
    state = await page.state()
    assert state["error"] == "Failed to connect to interview"  # the seed's message for any error
    assert any("SignalRequestError" in line for line in state["consoleErrors"])
    identity = f"candidate-{made['candidateId']}"
    await eventually(lambda: agent.hears(identity))  # it is still connected
    arrival = await eventually(lambda: agent.arrival(identity))
    assert json.loads(arrival.metadata) == {**SEED_METADATA, "interviewId": made["interviewId"]}
    assert agent.room.remote_participants[identity].metadata == arrival.metadata
    await page.leave()


async def test_the_page_shows_why_it_could_not_join(stack: Stack, page: InterviewPage) -> None:
    answer = await page.join(stack.service.url, "00000000-0000-0000-0000-000000000000", PHONE)
    assert (answer.status, answer.body["code"]) == (404, "interview_not_found")
    assert (await page.state())["error"] == answer.body["detail"]


async def _has_status(platform: Platform, interview_id: str, status: str) -> bool:
    return (await platform.status(interview_id))[0] == status

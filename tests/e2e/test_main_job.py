"""The main job: candidate and agent in one room, the metadata in the token, LiveKit's own webhooks move the status."""

import json
from collections.abc import AsyncIterator

import pytest
from livekit import api

from tests.e2e import seed
from tests.e2e.agent import Agent
from tests.e2e.candidate import Candidate
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview, Schedule
from tests.e2e.platform import SEED_METADATA, Platform
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

DEMO_ID = "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"


@pytest.fixture
async def interview(schedule: Schedule, livekit_api: api.LiveKitAPI) -> AsyncIterator[Interview]:
    made = await schedule()
    yield made
    await _delete_room(livekit_api, made.room())


async def _delete_room(livekit: api.LiveKitAPI, room: str) -> None:
    try:
        await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    except api.TwirpError as error:
        if error.code != api.TwirpErrorCode.NOT_FOUND:
            raise


async def test_the_seeds_example_reaches_the_agent_as_it_is_written(
    stack: Stack, platform: Platform, join: Join, livekit_api: api.LiveKitAPI
) -> None:
    """With the demo interview, which has the seed's ids, and the seed's handler in the agent."""
    room = f"interview-{DEMO_ID}"
    agent = Agent(stack.livekit, room)
    printed = agent.run_seed_handler()
    await join(agent)
    answer = await platform.join(DEMO_ID)

    candidate = await join(Candidate(answer["serverUrl"], answer["participantToken"]))

    arrival = await eventually(lambda: agent.arrival(candidate.identity))
    assert json.loads(arrival.metadata) == {**SEED_METADATA, "interviewId": DEMO_ID}
    assert printed == [
        "Candidate Candidate joined for Senior Backend Developer - Fintech at MENA Bank",
        f"Interview ID: {DEMO_ID}",
        f"Instructions: {SEED_METADATA['instructions']}",
    ]
    await _delete_room(livekit_api, room)


async def test_candidate_first_and_a_silent_agent_ends_it(interview: Interview) -> None:
    assert (await interview.becomes("READY_TO_JOIN"))["connected"] == []
    await interview.candidate()
    waiting = await interview.becomes("WAITING_FOR_AGENT")
    assert [each["role"] for each in waiting["connected"]] == ["CANDIDATE"]

    agent = await interview.agent()
    running = await interview.becomes("IN_PROGRESS")
    assert {each["role"] for each in running["connected"]} == {"CANDIDATE", "AGENT"}
    assert running["startedAt"] is not None
    assert running["endedAt"] is None

    await agent.leave()
    over = await interview.becomes("COMPLETED", "AGENT_LEFT")
    assert over["startedAt"] == running["startedAt"]
    assert over["endedAt"] > over["startedAt"]
    assert over["joinAttempts"] == 1


async def test_agent_first_and_it_announces_the_outcome(interview: Interview) -> None:
    agent = await interview.agent()
    await agent.announce("pending")
    await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await agent.announce("completed")
    await agent.leave()
    await interview.becomes("COMPLETED", "AGENT_REPORTED")


async def test_an_agent_that_announced_pending_has_crashed_when_it_leaves(interview: Interview) -> None:
    await interview.candidate()
    agent = await interview.agent()
    await agent.announce("pending")
    await interview.becomes("IN_PROGRESS")
    await agent.leave()
    await interview.becomes("WAITING_FOR_AGENT")
    await interview.agent()
    await interview.becomes("IN_PROGRESS")


async def test_an_agent_reports_failure(interview: Interview) -> None:
    await interview.candidate()
    agent = await interview.agent()
    await interview.becomes("IN_PROGRESS")
    await agent.announce("failed")
    await agent.leave()
    await interview.becomes("FAILED", "AGENT_REPORTED")


async def test_the_candidate_drops_and_comes_back(interview: Interview) -> None:
    await interview.agent()
    candidate = await interview.candidate()
    first = await interview.becomes("IN_PROGRESS")
    await candidate.leave()
    await interview.becomes("RECONNECTING")
    await interview.candidate()
    again = await interview.becomes("IN_PROGRESS")
    assert again["startedAt"] == first["startedAt"]
    assert again["joinAttempts"] == 2


async def test_a_second_device_takes_over(interview: Interview) -> None:
    await interview.agent()
    first = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await interview.candidate()
    assert await eventually(lambda: first.disconnect_reason) == "DUPLICATE_IDENTITY"
    found = await interview.becomes("IN_PROGRESS")
    assert sorted(each["role"] for each in found["connected"]) == ["AGENT", "CANDIDATE"]


async def test_the_room_is_deleted_from_outside(interview: Interview, livekit_api: api.LiveKitAPI) -> None:
    await interview.agent()
    await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await _delete_room(livekit_api, interview.room())
    await interview.becomes("COMPLETED", "ROOM_DELETED")


async def test_a_python_clients_set_metadata_changes_nothing(interview: Interview, livekit_api: api.LiveKitAPI) -> None:
    """The SDK does not report the refusal; the agent still sees the service's metadata."""
    agent = await interview.agent()
    candidate = await interview.candidate()
    await candidate.room.local_participant.set_metadata('{"phoneNumber": "another"}')
    await eventually(lambda: agent.hears(candidate.identity))  # by then the server has received the request
    listed = await livekit_api.room.list_participants(api.ListParticipantsRequest(room=interview.room()))
    metadata = {each.identity: each.metadata for each in listed.participants}[candidate.identity]
    assert json.loads(metadata) == {**SEED_METADATA, "interviewId": interview.id}
    arrival = await eventually(lambda: agent.arrival(candidate.identity))
    assert arrival.metadata == metadata


async def test_arabic_reaches_the_agent_unchanged(
    stack: Stack, platform: Platform, join: Join, livekit_api: api.LiveKitAPI
) -> None:
    texts = {"participantName": "محمد العُتيبي", "jobTitle": "مطوّر برمجيات أول", "companyName": "بنك مينا"}
    made = await platform.schedule(**texts, instructions="مرحباً بك! " * 80)
    agent = await join(Agent(stack.livekit, made["roomName"]))
    answer = await platform.join(made["interviewId"])
    assert len(answer["participantToken"]) < 8000
    candidate = await join(Candidate(answer["serverUrl"], answer["participantToken"]))
    arrival = await eventually(lambda: agent.arrival(candidate.identity))
    found = json.loads(arrival.metadata)
    assert {key: found[key] for key in texts} == texts
    assert found["instructions"] == "مرحباً بك! " * 80
    assert candidate.room.local_participant.name == texts["participantName"]
    await _delete_room(livekit_api, made["roomName"])


def test_the_seed_is_read_as_written() -> None:
    """The tests run the seed's handler; this detects a handler that reads nothing."""
    assert seed.AGENT_HANDLER.count("metadata['") == 11

"""Changes to a live interview by participants and API calls on a real LiveKit server, and the result for its room."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from livekit import api, rtc

from tests.e2e.candidate import Candidate
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview, Schedule
from tests.e2e.outages import OwnStack, fetch, is_out, seconds_left, shorten
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(own_stack: OwnStack) -> Iterator[Stack]:
    with own_stack(CANDIDATE_GRACE=3, AGENT_WAIT=3, TOKEN_WAIT=3, GOODBYE=1, RECONCILE_EVERY=2) as running:
        yield running


async def room_names(livekit: api.LiveKitAPI) -> list[str]:
    return [room.name for room in (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms]


async def try_to_join(join: Join, client: Candidate) -> None:
    """Join with a token for a room that is deleted as soon as it exists; the join may fail."""
    try:
        await join(client)
    except rtc.ConnectError:
        return


async def test_a_second_device_takes_over_and_nothing_ends(schedule: Schedule, platform: Platform) -> None:
    interview = await schedule()
    await interview.agent()
    first = await interview.candidate()
    started = await interview.becomes("IN_PROGRESS")
    await interview.candidate()
    await eventually(is_out(first, "DUPLICATE_IDENTITY"))

    async def talks_on() -> dict[str, Any]:
        found = await platform.read(interview.id)
        assert found["talkTime"] > 4  # longer than the grace, in which the removed device does not return
        return found

    found = await eventually(talks_on)
    assert (found["status"], found["startedAt"]) == ("IN_PROGRESS", started["startedAt"])
    assert sorted(each["role"] for each in found["connected"]) == ["AGENT", "CANDIDATE"]


async def test_the_candidate_is_removed_from_outside(schedule: Schedule, livekit_api: api.LiveKitAPI) -> None:
    interview = await schedule()
    await interview.agent()
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    who = api.RoomParticipantIdentity(room=interview.room(), identity=candidate.identity)
    await livekit_api.room.remove_participant(who)
    await eventually(is_out(candidate, "PARTICIPANT_REMOVED"))
    await interview.becomes("FAILED", "CONNECTION_LOST")
    assert await interview.path() == ["IN_PROGRESS", "RECONNECTING", "FAILED"]


async def test_the_room_of_a_silent_agent_is_deleted_from_outside(
    schedule: Schedule, livekit_api: api.LiveKitAPI
) -> None:
    interview = await schedule()
    await interview.agent()
    await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await livekit_api.room.delete_room(api.DeleteRoomRequest(room=interview.room()))
    await interview.becomes("COMPLETED", "ROOM_DELETED")


async def test_the_room_of_an_unfinished_agent_is_deleted_from_outside(
    schedule: Schedule, livekit_api: api.LiveKitAPI
) -> None:
    interview = await schedule()
    await interview.agent("pending")
    await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await livekit_api.room.delete_room(api.DeleteRoomRequest(room=interview.room()))
    await interview.becomes("FAILED", "AGENT_UNAVAILABLE")
    assert (await interview.path())[-2:] == ["RECONNECTING", "FAILED"]  # LiveKit removes either of them first


async def test_a_silent_agent_is_shut_down(schedule: Schedule) -> None:
    interview = await schedule()
    agent = await interview.agent_process()
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await agent.leave()
    await interview.becomes("COMPLETED", "AGENT_LEFT")
    await eventually(is_out(candidate))


async def test_an_agent_that_announced_completed_is_shut_down(schedule: Schedule) -> None:
    interview = await schedule()
    agent = await interview.agent_process("completed")
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await agent.leave()
    await interview.becomes("COMPLETED", "AGENT_REPORTED")
    await eventually(is_out(candidate))


async def test_an_agent_that_had_announced_pending_raises(schedule: Schedule) -> None:
    """Its webhook equals that of a regular leave; only the announcement distinguishes them."""
    interview = await schedule()
    agent = await interview.agent_process("pending")
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    agent.fail()
    await interview.becomes("FAILED", "AGENT_UNAVAILABLE")
    assert (await interview.path())[-2:] == ["WAITING_FOR_AGENT", "FAILED"]
    await eventually(is_out(candidate))


async def test_max_duration_ends_the_conversation(schedule: Schedule) -> None:
    interview = await schedule()
    await shorten(interview, 5)
    agent = await interview.agent("pending")
    candidate = await interview.candidate(microphone=False)
    await eventually(is_out(candidate))
    await eventually(is_out(agent))
    over = await interview.becomes("COMPLETED", "MAX_DURATION_REACHED")
    assert over["talkTime"] == 5
    assert await interview.path() == ["IN_PROGRESS", "COMPLETED"]


async def test_both_are_notified_of_the_time_left(schedule: Schedule) -> None:
    interview = await schedule(maxDuration=70)  # so that both can receive data when a minute is left
    agent = await interview.agent("pending")
    candidate = await interview.candidate()
    (left,) = await eventually(lambda: seconds_left(agent.data))
    assert await eventually(lambda: seconds_left(candidate.data)) == [left]
    assert 30 <= left <= 60
    (line,) = await interview.shows("service", "time_left_announced")
    assert line["detail"] == {"secondsLeft": left}
    await interview.becomes("IN_PROGRESS")


async def test_cancel_empties_the_room_and_an_old_token_does_not_recreate_it(
    schedule: Schedule, platform: Platform, join: Join, livekit_api: api.LiveKitAPI
) -> None:
    interview = await schedule()
    old = await interview.unconnected_candidate(microphone=False)
    agent = await interview.agent()
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    cancelled = await platform.cancel(interview.id)
    assert (cancelled["status"], cancelled["endReason"]) == ("CANCELLED", None)
    await eventually(is_out(candidate))
    await eventually(is_out(agent))
    assert (await platform.refused(interview.id))["interviewStatus"] == "CANCELLED"

    counter = 'interviews_rooms_deleted_total{why="came_back"}'
    before = await platform.metric(counter)
    await try_to_join(join, old)
    await eventually(lambda: _revivals(interview))
    await eventually(lambda: _is_gone(livekit_api, interview.room()))

    async def is_counted() -> bool:
        return await platform.metric(counter) > before

    await eventually(is_counted)
    assert await platform.status(interview.id) == ("CANCELLED", None)
    assert await interview.path() == ["IN_PROGRESS", "CANCELLED"]


async def _revivals(interview: Interview) -> int:
    found: int = await fetch(interview.stack, "SELECT revivals FROM interviews WHERE id::text = $1", interview.id)
    return found


async def _is_gone(livekit: api.LiveKitAPI, room: str) -> bool:
    return room not in await room_names(livekit)


async def test_a_reopened_interview_goes_on_in_another_room_and_the_old_one_stays_shut(
    schedule: Schedule, platform: Platform, join: Join, livekit_api: api.LiveKitAPI
) -> None:
    interview = await schedule()
    old = await interview.unconnected_candidate(microphone=False)
    await platform.cancel(interview.id)
    reopened = await platform.reopen(interview.id)
    assert (reopened["status"], reopened["attempt"], reopened["roomName"]) == ("READY_TO_JOIN", 2, interview.room(2))
    await interview.agent(attempt=2)
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")

    await try_to_join(join, old)
    await eventually(lambda: _is_gone(livekit_api, interview.room()))
    assert await platform.status(interview.id) == ("IN_PROGRESS", None)
    assert candidate.disconnect_reason is None
    assert await interview.path(2) == ["IN_PROGRESS"]


async def test_an_agent_reports_and_the_room_is_deleted_after_a_goodbye(schedule: Schedule, platform: Platform) -> None:
    interview = await schedule()
    agent = await interview.agent("pending")
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    report = {"summary": "Knows Python well.", "result": {"score": 4}}
    done = await platform.complete(interview.id, interview.room(), "completed", **report)
    assert (done["status"], done["endReason"]) == ("COMPLETED", "AGENT_REPORTED")
    await eventually(is_out(candidate))
    await eventually(is_out(agent))
    (line,) = await interview.shows("service", "room_deleted")
    goodbye = datetime.fromisoformat(line["at"]) - datetime.fromisoformat(done["endedAt"])
    assert goodbye > timedelta(seconds=0.9)  # of 1; both instants are in whole milliseconds
    found = await platform.read(interview.id)
    assert {key: found[key] for key in report} == report
    assert found["endedAt"] == done["endedAt"]


async def test_a_late_report_amends_the_result(schedule: Schedule, platform: Platform) -> None:
    interview = await schedule()
    await interview.agent("pending")
    candidate = await interview.candidate()
    await interview.becomes("IN_PROGRESS")
    await candidate.leave()
    over = await interview.becomes("ABANDONED", "CANDIDATE_LEFT")
    await platform.complete(interview.id, interview.room(), "completed")
    amended = await interview.becomes("COMPLETED", "AGENT_REPORTED")
    assert amended["endedAt"] == over["endedAt"]
    assert [line["name"] for line in await interview.lines("status")][-1] == "amended"

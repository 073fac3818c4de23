"""The simulated server API, called by LiveKit's own library."""

from collections.abc import AsyncIterator

import aiohttp
import jwt
import pytest
from livekit.api import LiveKitAPI
from livekit.api.twirp_client import ServerError
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest
from livekit.protocol.models import DisconnectReason, ParticipantInfo
from livekit.protocol.room import (
    DeleteRoomRequest,
    ListParticipantsRequest,
    ListRoomsRequest,
    RoomParticipantIdentity,
    SendDataRequest,
)

from simulator.livekit_api import LiveKitApi, serve_api
from simulator.livekit_state import LiveKitState
from tests.simulator.samples import KEY, PLACEMENT, SECRET, ManualClock, middle_of_talk, start


@pytest.fixture
async def server(state: LiveKitState) -> AsyncIterator[tuple[LiveKitApi, str]]:
    api = LiveKitApi(state, key=KEY, secret=SECRET)
    async with serve_api(api, "127.0.0.1", 0) as url:
        yield api, url


@pytest.fixture
async def livekit(server: tuple[LiveKitApi, str]) -> AsyncIterator[LiveKitAPI]:
    async with LiveKitAPI(server[1], KEY, SECRET) as client:
        yield client


async def test_livekits_library_lists_rooms_and_participants(
    clock: ManualClock, state: LiveKitState, livekit: LiveKitAPI
) -> None:
    interview = start(state, "an_avatar_and_a_recruiter_come_and_go")
    clock.now = middle_of_talk(interview)
    rooms = (await livekit.room.list_rooms(ListRoomsRequest(names=[PLACEMENT.room_name, "other"]))).rooms
    assert [(room.name, room.num_participants) for room in rooms] == [(PLACEMENT.room_name, 5)]
    assert len((await livekit.room.list_rooms(ListRoomsRequest())).rooms) == 1
    assert len((await livekit.room.list_rooms(ListRoomsRequest(names=["other"]))).rooms) == 0
    found = (await livekit.room.list_participants(ListParticipantsRequest(room=PLACEMENT.room_name))).participants
    kinds = {who.identity.partition("-")[0]: (who.kind, who.permission.hidden) for who in found}
    assert kinds == {
        "candidate": (ParticipantInfo.STANDARD, False),
        "agent": (ParticipantInfo.AGENT, False),
        "avatar": (ParticipantInfo.AGENT, False),
        "listener": (ParticipantInfo.AGENT, True),
        "recruiter": (ParticipantInfo.STANDARD, True),
    }
    assert {who.disconnect_reason for who in found} == {DisconnectReason.UNKNOWN_REASON}
    agent = next(who for who in found if who.identity.startswith("agent"))
    assert agent.attributes["interview.outcome"] == "pending"


async def test_livekits_library_deletes_removes_sends_and_dispatches(
    clock: ManualClock, state: LiveKitState, livekit: LiveKitAPI
) -> None:
    interview = start(state, "agent_announces_completed")
    clock.now = middle_of_talk(interview)
    name = PLACEMENT.room_name
    await livekit.room.send_data(SendDataRequest(room=name, data=b'{"secondsLeft":60}', topic="interview.time"))
    assert interview.messages[0]["topic"] == "interview.time"
    await livekit.agent_dispatch.create_dispatch(CreateAgentDispatchRequest(room=name, agent_name="ada"))
    assert len(await livekit.agent_dispatch.list_dispatch(name)) == 1
    await livekit.room.remove_participant(RoomParticipantIdentity(room=name, identity=PLACEMENT.identity))
    clock.now += 1000
    found = (await livekit.room.list_participants(ListParticipantsRequest(room=name))).participants
    assert [who.kind for who in found] == [ParticipantInfo.AGENT]
    await livekit.room.delete_room(DeleteRoomRequest(room=name))
    clock.now += 1000
    assert len((await livekit.room.list_rooms(ListRoomsRequest())).rooms) == 0


async def test_unknown_rooms_and_participants_are_answered_as_livekit_does(livekit: LiveKitAPI) -> None:
    assert not (await livekit.room.list_participants(ListParticipantsRequest(room="none"))).participants
    for call in (
        livekit.room.delete_room(DeleteRoomRequest(room="none")),
        livekit.room.remove_participant(RoomParticipantIdentity(room="none", identity="nobody")),
        livekit.agent_dispatch.create_dispatch(CreateAgentDispatchRequest(room="none")),
    ):
        with pytest.raises(ServerError) as caught:
            await call
        assert (caught.value.code, caught.value.status) == ("not_found", 404)


async def test_errors_of_an_unavailable_server_and_of_unknown_callers(server: tuple[LiveKitApi, str]) -> None:
    api, url = server
    async with LiveKitAPI(url, KEY, "another secret of thirty-two chars") as stranger:
        with pytest.raises(ServerError) as caught:
            await stranger.room.list_rooms(ListRoomsRequest())
        assert caught.value.status == 401
    api.unavailable = True
    async with LiveKitAPI(url, KEY, SECRET) as client:
        with pytest.raises(ServerError) as caught:
            await client.room.list_rooms(ListRoomsRequest())
        assert caught.value.code == "unavailable"


async def test_the_api_accepts_json(clock: ManualClock, state: LiveKitState, server: tuple[LiveKitApi, str]) -> None:
    interview = start(state, "agent_announces_completed")
    clock.now = middle_of_talk(interview)
    token = jwt.encode({"iss": KEY}, SECRET, algorithm="HS256")
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.post(f"{server[1]}/twirp/livekit.RoomService/ListRooms", json={}) as response,
    ):
        assert [room["name"] for room in (await response.json())["rooms"]] == [PLACEMENT.room_name]

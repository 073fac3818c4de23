"""The rights of a candidate's token on a real LiveKit server."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from livekit import api, rtc
from livekit.rtc.participant import PublishTrackError

from tests.e2e.candidate import Candidate
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview, Schedule
from tests.e2e.platform import SEED_METADATA
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

PICTURE = (16, 16)  # pixels


@pytest.fixture
async def interview(schedule: Schedule, livekit_api: api.LiveKitAPI) -> AsyncIterator[Interview]:
    made = await schedule()
    yield made
    for room in (await livekit_api.room.list_rooms(api.ListRoomsRequest(names=[made.room()]))).rooms:
        await livekit_api.room.delete_room(api.DeleteRoomRequest(room=room.name))


async def token_of(interview: Interview) -> str:
    return str((await interview.platform.join(interview.id))["participantToken"])


async def listed(livekit: api.LiveKitAPI, room: str) -> dict[str, api.ParticipantInfo]:
    """Return the server's participants of the room."""
    found = await livekit.room.list_participants(api.ListParticipantsRequest(room=room))
    return {each.identity: each for each in found.participants}


def admin_calls(room: str, identity: str) -> dict[str, dict[str, Any]]:
    """Return the server's API calls by service and method, with requests that an admin could make."""
    who, new_room = {"room": room, "identity": identity}, f"{room}-new"
    return {
        "RoomService/ListRooms": {},
        "RoomService/CreateRoom": {"name": new_room},
        "RoomService/ListParticipants": {"room": room},
        "RoomService/GetParticipant": who,
        "RoomService/RemoveParticipant": who,
        "RoomService/UpdateParticipant": who | {"metadata": "mine", "permission": {"hidden": True, "canPublish": True}},
        "RoomService/UpdateSubscriptions": who | {"trackSids": [], "subscribe": True},
        "RoomService/MutePublishedTrack": who | {"trackSid": "TR_x", "muted": True},
        "RoomService/UpdateRoomMetadata": {"room": room, "metadata": "mine"},
        "RoomService/SendData": {"room": room, "data": base64.b64encode(b"x").decode(), "topic": "interview.time"},
        "RoomService/MoveParticipant": who | {"destinationRoom": new_room},
        "RoomService/ForwardParticipant": who | {"destinationRoom": new_room},
        "RoomService/DeleteRoom": {"room": room},
        "AgentDispatchService/CreateDispatch": {"room": room, "agentName": "mine"},
        "AgentDispatchService/ListDispatch": {"room": room},
        "Egress/StartRoomCompositeEgress": {"roomName": room, "file": {"filepath": "/tmp/x.mp4"}},  # noqa: S108 - never written
        "Egress/ListEgress": {"roomName": room},
        "Ingress/CreateIngress": {"inputType": "WHIP_INPUT", "roomName": room, "participantIdentity": "mine"},
        "Ingress/ListIngress": {"roomName": room},
        "SIP/CreateSIPParticipant": {"sipTrunkId": "x", "sipCallTo": "x", "roomName": room},
    }


async def call(stack: Stack, name: str, token: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        url = f"{stack.livekit.http_url}/twirp/livekit.{name}"
        return await client.post(url, json=body, headers={"Authorization": f"Bearer {token}"})


def admin_token(stack: Stack, room: str) -> str:
    grants = api.VideoGrants(
        room_admin=True,
        room_create=True,
        room_list=True,
        room_record=True,
        ingress_admin=True,
        room=room,
        destination_room=f"{room}-new",
    )
    token = api.AccessToken(stack.livekit.api_key, stack.livekit.api_secret).with_grants(grants)
    return token.with_sip_grants(api.SIPGrants(admin=True, call=True)).to_jwt()


async def test_every_call_to_the_server_is_refused(
    stack: Stack, interview: Interview, livekit_api: api.LiveKitAPI
) -> None:
    """A candidate cannot list, remove, mute, hide, move, record or call anyone, create a room or dispatch an agent."""
    agent = await interview.agent()
    candidate = await interview.candidate()
    before = await listed(livekit_api, interview.room())
    token = await token_of(interview)
    for identity in (agent.identity, candidate.identity):
        for name, body in admin_calls(interview.room(), identity).items():
            answer = await call(stack, name, token, body)
            assert (answer.status_code, answer.json()["msg"]) == (401, "permissions denied"), name
    after = await listed(livekit_api, interview.room())
    assert {name: (who.metadata, who.permission) for name, who in after.items()} == {
        name: (who.metadata, who.permission) for name, who in before.items()
    }
    assert agent.data == candidate.data == []
    rooms = await livekit_api.room.list_rooms(api.ListRoomsRequest(names=[f"{interview.room()}-new", interview.room()]))
    assert [(room.name, room.metadata) for room in rooms.rooms] == [(interview.room(), "")]


async def test_an_admins_token_may_make_every_call(stack: Stack) -> None:
    """The previous test fails for missing grants, not for malformed calls."""
    calls = admin_calls("nobodys-room", "nobody")
    token = admin_token(stack, "nobodys-room")
    answers = await asyncio.gather(*(call(stack, name, token, body) for name, body in calls.items()))
    assert [name for name, answer in zip(calls, answers, strict=True) if answer.status_code == 401] == []


def changed(token: str, **claims: object) -> str:
    """Return the token with changed claims and the old signature."""
    header, _, signature = token.split(".")
    said = jwt.decode(token, options={"verify_signature": False})
    grants = said["video"] | claims.pop("video", {})
    body = base64.urlsafe_b64encode(json.dumps(said | claims | {"video": grants}).encode()).decode().rstrip("=")
    return f"{header}.{body}.{signature}"


async def test_no_other_room_can_be_joined(
    stack: Stack, interview: Interview, schedule: Schedule, livekit_api: api.LiveKitAPI, join: Join
) -> None:
    """Neither by requesting it, nor with a tampered token."""
    other = await schedule()
    await other.candidate()
    token = await token_of(interview)
    unsigned = jwt.encode(jwt.decode(token, options={"verify_signature": False}), None, algorithm="none")
    forged = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "x" * 32, algorithm="HS256")
    other_grants = {"room": other.room()}
    for given in (
        changed(token, video=other_grants),
        changed(token, video={"roomAdmin": True}),
        changed(token, video={"hidden": True}),
        changed(token, video={"canPublishSources": []}),
        changed(token, sub="agent-AJ_1", kind="agent"),
        unsigned,
        forged,
    ):
        with pytest.raises(rtc.ConnectError):
            await join(Candidate(stack.livekit.ws_url, given))
        assert (await call(stack, "RoomService/ListRooms", given, {})).status_code == 401
    asking = await join(Candidate(f"{stack.livekit.ws_url}/?room={other.room()}", token))
    assert asking.room.name == interview.room()
    assert (await listed(livekit_api, interview.room())).keys() == {asking.identity}
    assert len(await listed(livekit_api, other.room())) == 1


async def test_a_candidate_cannot_change_metadata_name_or_attributes(
    interview: Interview, livekit_api: api.LiveKitAPI
) -> None:
    """The agent trusts the candidate's metadata and attributes."""
    agent = await interview.agent()
    candidate = await interview.candidate()
    me = candidate.room.local_participant
    before = (await listed(livekit_api, interview.room()))[candidate.identity]
    await me.set_metadata("mine")
    await me.set_name("Somebody else")
    await me.set_attributes({"interview.outcome": "completed"})
    await eventually(lambda: agent.hears(candidate.identity))  # by then the server has received the requests
    await me.publish_data(b"last", topic="last")
    await eventually(lambda: agent.data)
    after = (await listed(livekit_api, interview.room()))[candidate.identity]
    assert (after.metadata, after.name, after.attributes) == (before.metadata, before.name, before.attributes)
    assert json.loads(after.metadata) == {**SEED_METADATA, "interviewId": interview.id}
    assert dict(after.attributes) == {}


async def test_data_of_a_candidate_carries_its_identity(interview: Interview) -> None:
    """A candidate may send data, even on the service's topic; the sender distinguishes them."""
    agent = await interview.agent()
    candidate = await interview.candidate()
    await eventually(lambda: agent.arrival(candidate.identity))
    said = json.dumps({"secondsLeft": 3600}).encode()
    await candidate.room.local_participant.publish_data(said, topic="interview.time")
    (packet,) = await eventually(lambda: agent.data)
    assert (packet.topic, packet.data) == ("interview.time", said)
    assert packet.participant is not None
    assert packet.participant.identity == candidate.identity


@pytest.mark.parametrize("kind", ["screen", "screen_audio", "unknown"])
async def test_screen_sharing_is_refused(interview: Interview, livekit_api: api.LiveKitAPI, kind: str) -> None:
    candidate = await interview.candidate()  # publishes its microphone, which is allowed
    me = candidate.room.local_participant
    sources = {
        "screen": rtc.TrackSource.SOURCE_SCREENSHARE,
        "screen_audio": rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO,
        "unknown": rtc.TrackSource.SOURCE_UNKNOWN,
    }
    with pytest.raises(PublishTrackError):
        await me.publish_track(picture(), rtc.TrackPublishOptions(source=sources[kind]))
    assert await sources_of(livekit_api, interview, candidate) == {api.TrackSource.MICROPHONE}
    camera = await me.publish_track(picture(), rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA))
    assert camera.sid


def picture() -> rtc.LocalVideoTrack:
    return rtc.LocalVideoTrack.create_video_track("picture", rtc.VideoSource(*PICTURE))


async def sources_of(livekit: api.LiveKitAPI, interview: Interview, candidate: Candidate) -> set[int]:
    who = (await listed(livekit, interview.room()))[candidate.identity]
    return {track.source for track in who.tracks}


async def test_a_candidate_cannot_hide(interview: Interview, livekit_api: api.LiveKitAPI) -> None:
    agent = await interview.agent()
    candidate = await interview.candidate()
    await eventually(lambda: agent.arrival(candidate.identity))
    permission = (await listed(livekit_api, interview.room()))[candidate.identity].permission
    assert not any((permission.hidden, permission.recorder, permission.agent, permission.can_update_metadata))

    async def is_shown() -> bool:
        connected = (await interview.platform.read(interview.id))["connected"]
        return [each["identity"] for each in connected if each["role"] == "CANDIDATE"] == [candidate.identity]

    await eventually(is_shown)

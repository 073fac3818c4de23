"""LiveKit's server API, served from a LiveKitState: Twirp, with protobuf as livekit-api sends it, or JSON.

The only module of the simulator that imports LiveKit's library, for the messages (package livekit-protocol).
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import jwt
from aiohttp import web
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse, ParseDict
from google.protobuf.message import Message
from livekit.protocol import agent_dispatch, room

from simulator.events import Json
from simulator.livekit_state import LiveKitState

PROTOBUF = "application/protobuf"


class TwirpError(Exception):
    """A Twirp error. Its response is JSON, even if the request was protobuf."""

    def __init__(self, status: int, code: str, msg: str) -> None:
        self.status = status
        self.body = {"code": code, "msg": msg}
        super().__init__(msg)


class Method(NamedTuple):
    request: Callable[[], Message]
    response: Callable[[], Message]
    handle: Callable[[LiveKitState, Json], Json]


def list_rooms(state: LiveKitState, request: Json) -> Json:
    return {"rooms": state.rooms(request.get("names", []))}


def list_participants(state: LiveKitState, request: Json) -> Json:
    return {"participants": state.participants(request.get("room", ""))}


def delete_room(state: LiveKitState, request: Json) -> Json:
    if not state.delete_room(request.get("room", "")):
        raise TwirpError(404, "not_found", "requested room does not exist")
    return {}


def remove_participant(state: LiveKitState, request: Json) -> Json:
    if not state.remove_participant(request.get("room", ""), request.get("identity", "")):
        raise TwirpError(404, "not_found", "participant does not exist")
    return {}


def send_data(state: LiveKitState, request: Json) -> Json:
    if not state.send_data(request.get("room", ""), request):
        raise TwirpError(404, "not_found", "requested room does not exist")
    return {}


def create_dispatch(state: LiveKitState, request: Json) -> Json:
    number = state.dispatch(request.get("room", ""))
    if number is None:
        raise TwirpError(404, "not_found", "requested room does not exist")
    return _dispatch(request.get("room", ""), number, request.get("agentName", ""))


def list_dispatch(state: LiveKitState, request: Json) -> Json:
    name = request.get("room", "")
    return {"agentDispatches": [_dispatch(name, number) for number, _ in enumerate(state.dispatches(name), start=1)]}


def _dispatch(room_name: str, number: int, agent_name: str = "") -> Json:
    return {"id": f"AD_{room_name}_{number}", "room": room_name, "agentName": agent_name}


METHODS = {
    "livekit.RoomService/ListRooms": Method(room.ListRoomsRequest, room.ListRoomsResponse, list_rooms),
    "livekit.RoomService/ListParticipants": Method(
        room.ListParticipantsRequest, room.ListParticipantsResponse, list_participants
    ),
    "livekit.RoomService/DeleteRoom": Method(room.DeleteRoomRequest, room.DeleteRoomResponse, delete_room),
    "livekit.RoomService/RemoveParticipant": Method(
        room.RoomParticipantIdentity, room.RemoveParticipantResponse, remove_participant
    ),
    "livekit.RoomService/SendData": Method(room.SendDataRequest, room.SendDataResponse, send_data),
    "livekit.AgentDispatchService/CreateDispatch": Method(
        agent_dispatch.CreateAgentDispatchRequest, agent_dispatch.AgentDispatch, create_dispatch
    ),
    "livekit.AgentDispatchService/ListDispatch": Method(
        agent_dispatch.ListAgentDispatchRequest, agent_dispatch.ListAgentDispatchResponse, list_dispatch
    ),
}


class LiveKitApi:
    """Serves one LiveKitState to callers with its API key. While `unavailable`, every response is 503."""

    def __init__(self, state: LiveKitState, *, key: str, secret: str) -> None:
        self.state = state
        self.key = key
        self.secret = secret
        self.unavailable = False
        self.calls: dict[str, int] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._health)
        app.router.add_post("/twirp/{service}/{method}", self._call)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="OK", status=503 if self.unavailable else 200)

    async def _call(self, request: web.Request) -> web.Response:
        try:
            return await self._handle(request)
        except TwirpError as error:
            return web.json_response(error.body, status=error.status)

    async def _handle(self, request: web.Request) -> web.Response:
        if self.unavailable:
            raise TwirpError(503, "unavailable", "the simulated server is unavailable")
        self._authenticate(request.headers.get("Authorization", ""))
        name = f"{request.match_info['service']}/{request.match_info['method']}"
        method = METHODS.get(name)
        if method is None:
            raise TwirpError(404, "bad_route", f"no handler for path {request.path}")
        self.calls[name] = self.calls.get(name, 0) + 1
        fields = _read(await request.read(), method.request(), request.content_type)
        return _response(ParseDict(method.handle(self.state, fields), method.response()), request.content_type)

    def _authenticate(self, header: str) -> None:
        try:
            jwt.decode(header.removeprefix("Bearer "), self.secret, algorithms=["HS256"], issuer=self.key)
        except jwt.PyJWTError as error:
            raise TwirpError(401, "unauthenticated", "permissions denied") from error


def _read(body: bytes, message: Message, content_type: str) -> Json:
    if content_type == PROTOBUF:
        message.ParseFromString(body)
    else:
        Parse(body, message, ignore_unknown_fields=True)
    return dict(MessageToDict(message))


def _response(message: Message, content_type: str) -> web.Response:
    if content_type == PROTOBUF:
        return web.Response(body=message.SerializeToString(), content_type=PROTOBUF)
    return web.Response(text=json.dumps(json.loads(MessageToJson(message))), content_type="application/json")


@asynccontextmanager
async def serve_api(api: LiveKitApi, host: str, port: int) -> AsyncIterator[str]:
    """Listen while the block runs, and yield the URL. Port 0 picks a free port."""
    runner = web.AppRunner(api.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()

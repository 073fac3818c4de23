"""LiveKit's server API as a small HTTP server, for the outside world's faults: away, slow, broken, answering nonsense.

It speaks Twirp with LiveKit's own protobuf messages, and behaves as docs/livekit.md says that a real server does.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from google.protobuf.message import Message
from livekit import api
from livekit.protocol.agent_dispatch import ListAgentDispatchRequest, ListAgentDispatchResponse

_sids = itertools.count(1)


@dataclass
class StubRoom:
    """A room that is there. `listed` is what ListRooms says of it: agents are left out."""

    name: str
    sid: str
    created_at: datetime
    participants: dict[str, api.ParticipantInfo] = field(default_factory=dict)

    def listed(self) -> api.Room:
        people = [who for who in self.participants.values() if who.kind != api.ParticipantInfo.Kind.AGENT]
        return api.Room(
            name=self.name,
            sid=self.sid,
            creation_time=int(self.created_at.timestamp()),
            creation_time_ms=round(self.created_at.timestamp() * 1000),
            num_participants=len(people),
        )


@dataclass
class LiveKitStub:
    """`faults` maps a method, or "*" for all, to down, slow, 500, not_found, unavailable or nonsense."""

    rooms: dict[str, StubRoom] = field(default_factory=dict)
    dispatches: dict[str, list[api.AgentDispatch]] = field(default_factory=dict)
    data: list[api.SendDataRequest] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    before: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What happens while the answer to that method is on its way."""
    url: str = ""

    def open(self, name: str, *, created_at: datetime, sid: str = "RM_1") -> StubRoom:
        self.rooms[name] = StubRoom(name, sid, created_at)
        return self.rooms[name]

    def join(
        self,
        room: str,
        identity: str,
        *,
        joined_at: datetime,
        sid: str = "",
        arriving: bool = False,
        room_sid: str = "RM_1",
        hidden: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        sid = sid or f"PA_stub{next(_sids)}"
        there = self.rooms.get(room) or self.open(room, created_at=joined_at, sid=room_sid)
        is_agent = identity.startswith("agent-")
        states = api.ParticipantInfo
        there.participants[sid] = api.ParticipantInfo(
            sid=sid,
            identity=identity,
            state=states.JOINED if arriving else states.ACTIVE,
            joined_at=int(joined_at.timestamp()),
            joined_at_ms=round(joined_at.timestamp() * 1000),
            kind=api.ParticipantInfo.Kind.AGENT if is_agent else api.ParticipantInfo.Kind.STANDARD,
            permission=api.ParticipantPermission(hidden=hidden),
            attributes=attributes,
        )
        return sid

    def leave(self, room: str, sid: str) -> None:
        self.rooms[room].participants.pop(sid, None)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.calls[method] += 1
        fault = self.faults.get(method) or self.faults.get("*")
        if fault:
            return await _fail(request, fault)
        body = await request.read()
        answer = getattr(self, f"_on_{method}")(body)
        if method in self.before:
            await self.before[method]()
        if isinstance(answer, Message):
            return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")
        code, status = answer
        return web.json_response({"code": code, "msg": "from the stub"}, status=status)

    def _on_ListRooms(self, body: bytes) -> Message:
        asked = api.ListRoomsRequest.FromString(body)
        names = set(asked.names)
        found = [room.listed() for name, room in self.rooms.items() if not names or name in names]
        return api.ListRoomsResponse(rooms=found)

    def _on_ListParticipants(self, body: bytes) -> Message:
        asked = api.ListParticipantsRequest.FromString(body)
        room = self.rooms.get(asked.room)
        return api.ListParticipantsResponse(participants=room.participants.values() if room else [])

    def _on_DeleteRoom(self, body: bytes) -> Message | tuple[str, int]:
        asked = api.DeleteRoomRequest.FromString(body)
        if self.rooms.pop(asked.room, None) is None:
            return "not_found", 404
        self.deleted.append(asked.room)
        return api.DeleteRoomResponse()

    def _on_ListDispatch(self, body: bytes) -> Message:
        asked = ListAgentDispatchRequest.FromString(body)
        return ListAgentDispatchResponse(agent_dispatches=self.dispatches.get(asked.room, []))

    def _on_CreateDispatch(self, body: bytes) -> Message:
        asked = api.CreateAgentDispatchRequest.FromString(body)
        made = api.AgentDispatch(
            id=f"AD_{next(_sids)}", room=asked.room, agent_name=asked.agent_name, metadata=asked.metadata
        )
        self.dispatches.setdefault(asked.room, []).append(made)
        return made

    def _on_SendData(self, body: bytes) -> Message | tuple[str, int]:
        asked = api.SendDataRequest.FromString(body)
        if asked.room not in self.rooms:
            return "unavailable", 503
        self.data.append(asked)
        return api.SendDataResponse()


async def _fail(request: web.Request, fault: str) -> web.StreamResponse:
    match fault:
        case "down":
            if request.transport:
                request.transport.abort()
            return web.Response()
        case "slow":
            await asyncio.sleep(30)  # cancelled when the caller times out
            return web.Response()
        case "nonsense":
            return web.Response(text="<html>a proxy's page</html>", content_type="text/html")
        case "500":
            return web.Response(text="<html>broken</html>", content_type="text/html", status=500)
        case _:
            return web.json_response({"code": fault, "msg": ""}, status=404 if fault == "not_found" else 503)


@asynccontextmanager
async def running_stub() -> AsyncIterator[LiveKitStub]:
    stub = LiveKitStub()
    app = web.Application()
    app.router.add_post("/twirp/{service}/{method}", stub.serve)
    runner: Any = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()

"""An agent worker: it registers at LiveKit's server under a name, and gets jobs with tokens that the server signs.

Only what the tests need of the protocol that LiveKit's agent framework speaks (livekit/protocol, livekit_agent.proto).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from livekit import api, rtc
from livekit.protocol import agent as protocol
from livekit.protocol.models import ParticipantPermission

from tests.e2e.agent import new_identity
from tests.e2e.livekit_server import LiveKitServer


class AgentWorker:
    """Takes every job that it is offered, and joins its room. `attributes` are those that it asks for."""

    def __init__(
        self, livekit: LiveKitServer, name: str, *, hidden: bool = False, attributes: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.rooms: list[rtc.Room] = []
        self._livekit = livekit
        self._attributes = attributes or {}
        self._permissions = ParticipantPermission(
            can_subscribe=True,
            can_publish=not hidden,
            can_publish_data=True,
            can_update_metadata=True,
            hidden=hidden,
            agent=True,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["AgentWorker"]:
        """Yield the worker once it is registered; its agents leave at the end."""
        token = api.AccessToken(self._livekit.api_key, self._livekit.api_secret)
        token = token.with_grants(api.VideoGrants(agent=True))
        headers = {"Authorization": f"Bearer {token.to_jwt()}"}
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{self._livekit.http_url}/agent", headers=headers) as socket,
        ):
            register = protocol.RegisterWorkerRequest(
                type=protocol.JobType.JT_ROOM, agent_name=self.name, allowed_permissions=self._permissions
            )
            await socket.send_bytes(protocol.WorkerMessage(register=register).SerializeToString())
            assert protocol.ServerMessage.FromString(await socket.receive_bytes()).HasField("register")
            serving = asyncio.create_task(self._serve(socket))
            try:
                yield self
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
                for room in filter(rtc.Room.isconnected, self.rooms):
                    await room.disconnect()

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = protocol.ServerMessage.FromString(await socket.receive_bytes())
            if message.HasField("availability"):
                accepted = protocol.AvailabilityResponse(
                    job_id=message.availability.job.id,
                    available=True,
                    participant_identity=new_identity(),
                    participant_attributes=self._attributes,
                )
                await socket.send_bytes(protocol.WorkerMessage(availability=accepted).SerializeToString())
            elif message.HasField("assignment"):
                room = rtc.Room()
                await room.connect(self._livekit.ws_url, message.assignment.token)
                self.rooms.append(room)

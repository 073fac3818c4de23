"""The AI agent as LiveKit's agent framework connects it, without the AI; as a process it can be killed.

`python -m tests.e2e.agent <serverUrl> <token> <outcome>` joins, announces the outcome unless it is empty, prints
`connected`, and leaves on SIGTERM or when its stdin closes. On SIGUSR1 it raises and leaves the room, as the framework
does when a job's entrypoint raises.
"""

import asyncio
import contextlib
import datetime
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from livekit import api, rtc
from livekit.protocol.room import RoomConfiguration

from tests.e2e import seed
from tests.e2e.livekit_server import LiveKitServer
from tests.e2e.processes import Process, clean_environment, says
from tests.e2e.tone import Tone
from tests.e2e.toolchain import ROOT


def new_identity() -> str:
    return f"agent-AJ_{secrets.token_hex(6)}"


def agent_token(
    livekit: LiveKitServer,
    room: str,
    *,
    identity: str,
    departure_timeout: int | None = None,
    empty_timeout: int | None = None,
) -> str:
    """A job's token with the grants of livekit-server's BuildAgentToken (livekit/protocol, agent/token.go).

    The timeouts, in seconds, apply only if this token creates the room; None means the server's defaults.
    """
    token = (
        api.AccessToken(livekit.api_key, livekit.api_secret)
        .with_identity(identity)
        .with_kind("agent")
        .with_ttl(datetime.timedelta(hours=1))
        .with_grants(
            api.VideoGrants(
                room_join=True,
                room=room,
                agent=True,
                can_publish=True,
                can_subscribe=True,
                can_publish_data=True,
                can_update_own_metadata=True,
            )
        )
    )
    if departure_timeout is not None or empty_timeout is not None:
        config = RoomConfiguration()
        if departure_timeout is not None:
            config.departure_timeout = departure_timeout
        if empty_timeout is not None:
            config.empty_timeout = empty_timeout
        token = token.with_room_config(config)
    return token.to_jwt()


@dataclass(frozen=True)
class Arrival:
    """A participant at the moment of participant_connected."""

    identity: str
    sid: str
    metadata: str
    attributes: dict[str, str]


@dataclass
class Hearing:
    """Audio received from one participant; `peak` is of 32,767."""

    frames: int = 0
    peak: int = 0


class Agent:
    """Create it, `join()`, check what it received, `leave()`."""

    def __init__(
        self,
        livekit: LiveKitServer,
        room: str,
        *,
        identity: str | None = None,
        departure_timeout: int | None = None,
        empty_timeout: int | None = None,
    ) -> None:
        self.identity = identity or new_identity()
        self.room = rtc.Room()
        self.arrivals: list[Arrival] = []
        self.departures: list[str] = []  # identities
        self.disconnect_reason: str | None = None  # caused by others; the SDK does not always report its own leave
        self.data: list[rtc.DataPacket] = []
        self._url = livekit.ws_url
        self._token = agent_token(
            livekit,
            room,
            identity=self.identity,
            departure_timeout=departure_timeout,
            empty_timeout=empty_timeout,
        )
        self._hearing: dict[str, Hearing] = {}
        self._streams: list[rtc.AudioStream] = []
        self._listening: set[asyncio.Task[None]] = set()
        self._voice: Tone | None = None
        self.room.on("participant_connected", self._on_participant_connected)
        self.room.on("participant_disconnected", self._on_participant_disconnected)
        self.room.on("track_subscribed", self._on_track_subscribed)
        self.room.on("disconnected", self._on_disconnected)
        self.room.on("data_received", self.data.append)

    async def join(self) -> None:
        await self.room.connect(self._url, self._token)

    def run_seed_handler(self) -> list[str]:
        """Register the seed's participant_connected handler; the lines it prints appear in the list."""
        return seed.register_agent_handler(self.room)

    async def speak(self) -> None:
        """Publish audio; others see an agent that publishes nothing up to 3 s late."""
        self._voice = await Tone.publish(self.room)

    async def announce(self, outcome: str) -> None:
        """Set the attribute that participant_left will carry: pending, completed or failed."""
        await self.room.local_participant.set_attributes({"interview.outcome": outcome})

    def arrival(self, identity: str) -> Arrival | None:
        """Return the last arrival of this identity."""
        return next((one for one in reversed(self.arrivals) if one.identity == identity), None)

    def hearing(self, identity: str) -> Hearing:
        return self._hearing.setdefault(identity, Hearing())

    def hears(self, identity: str) -> bool:
        """Return whether sound, not only silence, came from this participant."""
        return self.hearing(identity).peak > 500

    async def leave(self) -> None:
        """Leave as CLIENT_INITIATED; does nothing if it has left already."""
        if self._voice is not None:
            await self._voice.stop()
            self._voice = None
        await self.room.disconnect()
        for task in self._listening:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for stream in self._streams:
            await stream.aclose()
        self._listening.clear()
        self._streams.clear()

    def _on_participant_connected(self, participant: rtc.RemoteParticipant) -> None:
        seen = Arrival(participant.identity, participant.sid, participant.metadata, dict(participant.attributes))
        self.arrivals.append(seen)

    def _on_participant_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        self.departures.append(participant.identity)

    def _on_track_subscribed(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            stream = rtc.AudioStream(track)
            self._streams.append(stream)
            self._listening.add(asyncio.create_task(_listen(stream, self.hearing(participant.identity))))

    def _on_disconnected(self, reason: int) -> None:
        self.disconnect_reason = rtc.DisconnectReason.Name(rtc.DisconnectReason.ValueType(reason))


async def _listen(stream: rtc.AudioStream, hearing: Hearing) -> None:
    async for event in stream:
        hearing.frames += 1
        hearing.peak = max(hearing.peak, max(event.frame.data), -min(event.frame.data))


class AgentProcess:
    """An agent as a process: `vanish()` kills it, `fail()` raises in it, `leave()` ends it regularly."""

    def __init__(
        self, livekit: LiveKitServer, room: str, *, log: Path, outcome: str = "", departure_timeout: int | None = None
    ) -> None:
        token = agent_token(livekit, room, identity=new_identity(), departure_timeout=departure_timeout)
        self._process = Process(
            [sys.executable, "-m", "tests.e2e.agent", livekit.ws_url, token, outcome],
            env=clean_environment(),
            cwd=ROOT,
            log=log,
        )

    async def join(self) -> None:
        """Return when it is connected and has announced. Raises ProcessFailed with its output if it ends first."""
        self._process.start()
        await says(self._process, "connected")

    def vanish(self) -> None:
        """Send SIGKILL: LiveKit notices some 20 s later, with CONNECTION_TIMEOUT."""
        self._process.kill()

    def fail(self) -> None:
        """Raise in it: LiveKit reports CLIENT_INITIATED, as for a regular leave."""
        self._process.send(signal.SIGUSR1)

    async def leave(self) -> None:
        """Send SIGTERM, as its worker does: CLIENT_INITIATED."""
        self._process.send(signal.SIGTERM)
        if await asyncio.to_thread(self._process.wait, 60) is None:
            self._process.kill()


class _Broken(Exception):
    """The exception of a job's entrypoint."""


async def _stay(server_url: str, token: str, outcome: str) -> None:
    room = rtc.Room()
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end(error: Exception | None = None) -> None:
        if not over.done():
            over.set_exception(error) if error else over.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGUSR1, end, _Broken())
    loop.add_reader(sys.stdin, end)
    room.on("disconnected", lambda _reason: end())
    await room.connect(server_url, token)
    try:
        if outcome:
            await room.local_participant.set_attributes({"interview.outcome": outcome})
        sys.stdout.write("connected\n")
        sys.stdout.flush()
        await over
    finally:
        await room.disconnect()


if __name__ == "__main__":
    asyncio.run(_stay(*sys.argv[1:4]))

"""A candidate in Python, for tests that need no browser; as a process it can be killed or frozen.

`python -m tests.e2e.candidate <serverUrl> <participantToken>` joins, publishes a microphone, prints `connected`,
and leaves on SIGTERM or when its stdin closes, so it does not outlive its test.
"""

import asyncio
import signal
import sys
from pathlib import Path

from livekit import rtc

from tests.e2e.processes import Process, clean_environment, says
from tests.e2e.tone import Tone
from tests.e2e.toolchain import ROOT


class Candidate:
    """Create it from a joinResponse's serverUrl and participantToken, `join()`, `leave()`."""

    def __init__(self, server_url: str, token: str, *, microphone: bool = True) -> None:
        self.room = rtc.Room()
        self.disconnect_reason: str | None = None  # caused by others; the SDK does not always report its own leave
        self.data: list[rtc.DataPacket] = []
        self._server_url = server_url
        self._token = token
        self._with_microphone = microphone
        self._microphone: Tone | None = None
        self.room.on("disconnected", self._on_disconnected)
        self.room.on("data_received", self.data.append)

    @property
    def identity(self) -> str:
        return self.room.local_participant.identity

    async def join(self) -> None:
        await self.room.connect(self._server_url, self._token)
        if self._with_microphone:
            self._microphone = await Tone.publish(self.room)

    async def leave(self) -> None:
        """Leave as CLIENT_INITIATED; does nothing if it has left already."""
        if self._microphone is not None:
            await self._microphone.stop()
            self._microphone = None
        await self.room.disconnect()

    def _on_disconnected(self, reason: int) -> None:
        self.disconnect_reason = rtc.DisconnectReason.Name(rtc.DisconnectReason.ValueType(reason))


class CandidateProcess:
    """A candidate as a process: `vanish()` kills it, `freeze()` stops it, `thaw()` continues it."""

    def __init__(self, server_url: str, token: str, *, log: Path) -> None:
        self._process = Process(
            [sys.executable, "-m", "tests.e2e.candidate", server_url, token],
            env=clean_environment(),
            cwd=ROOT,
            log=log,
        )

    async def join(self) -> None:
        """Return when it is connected and publishes. Raises ProcessFailed with its output if it ends first."""
        self._process.start()
        await says(self._process, "connected")

    def vanish(self) -> None:
        """Send SIGKILL: LiveKit notices some 20 s later, with CONNECTION_TIMEOUT."""
        self._process.kill()

    def freeze(self) -> None:
        self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send(signal.SIGCONT)

    async def leave(self) -> None:
        """Send SIGTERM, on which it disconnects: CLIENT_INITIATED."""
        self.thaw()
        self._process.send(signal.SIGTERM)
        if await asyncio.to_thread(self._process.wait, 60) is None:
            self._process.kill()


async def _stay(server_url: str, token: str) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_reader(sys.stdin, over.set)
    candidate = Candidate(server_url, token)
    candidate.room.on("disconnected", lambda _reason: over.set())
    await candidate.join()
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await over.wait()
    await candidate.leave()
    sys.stdout.write(f"left: {candidate.disconnect_reason or 'CLIENT_INITIATED'}\n")


if __name__ == "__main__":
    asyncio.run(_stay(sys.argv[1], sys.argv[2]))

"""How much time is left, by the agent's own clock."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livekit import rtc

TOPIC = "interview.time"
MARKS = (300.0, 60.0, 20.0)  # seconds; at the end the room is deleted, without a goodbye unless it is said before

TimeHandler = Callable[[float], Awaitable[None]]


class Countdown:
    """Counts down from the time that is left. Another source is believed only if it leaves less."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._lowered = asyncio.Event()

    @property
    def seconds_left(self) -> float:
        return max(self._ends_at - time.monotonic(), 0.0)

    def lower(self, seconds: float) -> None:
        """Take the other source's time if it is less."""
        ends_at = time.monotonic() + max(seconds, 0.0)
        if ends_at < self._ends_at:
            self._ends_at = ends_at
            self._lowered.set()

    async def wait_until_left(self, seconds: float) -> None:
        """Return once no more than so many seconds are left."""
        while (wait := self.seconds_left - seconds) > 0:
            self._lowered.clear()
            try:
                await asyncio.wait_for(self._lowered.wait(), wait)
            except asyncio.TimeoutError:
                continue

    async def call_at_marks(self, handler: TimeHandler) -> None:
        """Call the handler with 300, 60 and 20 when so many seconds are left. Marks that have passed are left out.

        The last one never is: an agent that starts late must still be able to say goodbye.
        """
        for mark in [mark for mark in MARKS if mark < self.seconds_left] or MARKS[-1:]:
            await self.wait_until_left(mark)
            await handler(mark)


def announced_seconds(packet: rtc.DataPacket) -> float | None:
    """Return the time left that the service announces in the room.

    None for anything else, above all for what a participant sent: candidates can send data, the service has no sender.
    """
    if packet.topic != TOPIC or packet.participant is not None:
        return None
    try:
        fields = json.loads(packet.data)
    except ValueError:
        return None
    seconds = fields.get("secondsLeft") if isinstance(fields, dict) else None
    return float(seconds) if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) else None

"""A microphone with a constant tone."""

import asyncio
import math
from array import array

from livekit import rtc

_RATE = 48_000  # samples a second
_FRAME = _RATE // 10  # 100 ms, whole waves of 440 Hz, so frames join without a click


class Tone:
    """440 Hz at half of full scale, published as a microphone until stopped."""

    def __init__(self, source: rtc.AudioSource) -> None:
        self._source = source
        self._over = False
        self._playing = asyncio.create_task(self._play())

    @classmethod
    async def publish(cls, room: rtc.Room) -> "Tone":
        source = rtc.AudioSource(_RATE, 1, queue_size_ms=200)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, options)
        return cls(source)

    async def stop(self) -> None:
        # not cancelled: the native side would complete a capture that is no longer awaited
        self._over = True
        await self._playing
        await self._source.aclose()

    async def _play(self) -> None:
        wave = array("h", (round(16_000 * math.sin(2 * math.pi * 440 * n / _RATE)) for n in range(_FRAME)))
        while not self._over:  # capture_frame waits while its queue is full, which paces this loop
            await self._source.capture_frame(rtc.AudioFrame(wave.tobytes(), _RATE, 1, _FRAME))

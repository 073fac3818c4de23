"""A candidate that speaks, for the demo and the tests: joins like a browser, and answers whatever it is asked.

`python candidate.py <service> <interviewId>` joins, waits until the agent has spoken and is silent, speaks an answer by
espeak-ng (tones without it), and so on until the room closes. It prints what it says.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time

import httpx
from livekit import rtc

from espeak import offline_tts

SOUND = 500  # of 32,767: louder is somebody speaking
PAUSE = 1.5  # seconds of silence after which it is the candidate's turn
ANSWERS = {
    "en": (
        "I have worked with payments for six years, and I like to make things reliable.",
        "I rebuilt the reports of a bank. I wrote the part that finds double payments.",
        "A database was slow. I measured first, found a missing index, and added it.",
        "I would like to learn more about how banks handle risk.",
    ),
    "ar": (
        "عملت ست سنوات في مجال المدفوعات، وأحب أن أجعل الأنظمة موثوقة.",
        "أعدت بناء تقارير أحد البنوك، وكتبت الجزء الذي يكتشف الدفعات المكررة.",
        "كانت قاعدة البيانات بطيئة. قست أولا، ثم وجدت فهرسا ناقصا وأضفته.",
        "أود أن أتعلم المزيد عن إدارة المخاطر في البنوك.",
    ),
}


class SpokenCandidate:
    """Speaks after each pause of the agent."""

    def __init__(self, language: str) -> None:
        self.room = rtc.Room()
        self.closed = asyncio.Event()
        self._tts = offline_tts(language)
        self._answers = itertools.cycle(ANSWERS[language])
        self._source = rtc.AudioSource(self._tts.sample_rate, 1)
        self._last_sound = 0.0
        self._has_heard = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.room.on("track_subscribed", self._on_track)
        self.room.on("disconnected", lambda _reason: self.closed.set())

    async def join(self, server_url: str, token: str) -> None:
        await self.room.connect(server_url, token)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)

    async def talk(self) -> None:
        """Answer until the room closes."""
        talking = asyncio.ensure_future(self._talk())
        await self.closed.wait()
        for task in (talking, *self._tasks):
            task.cancel()
        await asyncio.gather(talking, *self._tasks, return_exceptions=True)

    async def _talk(self) -> None:
        while True:
            await self._has_heard.wait()
            while (wait := self._last_sound + PAUSE - time.monotonic()) > 0:  # noqa: ASYNC110 - sound puts it off
                await asyncio.sleep(wait)
            answer = next(self._answers)
            print(f"candidate: {answer}", flush=True)  # noqa: T201 - a command prints
            async for audio in self._tts.synthesize(answer):
                await self._source.capture_frame(audio.frame)
            await self._source.wait_for_playout()
            self._has_heard.clear()

    def _on_track(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            task = asyncio.ensure_future(self._listen(rtc.AudioStream(track)))
            self._tasks.add(task)

    async def _listen(self, stream: rtc.AudioStream) -> None:
        async for event in stream:
            if max(event.frame.data) > SOUND:
                self._last_sound = time.monotonic()
                self._has_heard.set()


async def main(service: str, interview_id: str, language: str) -> None:
    async with httpx.AsyncClient(base_url=service) as http:
        answer = await http.post(f"/interviews/{interview_id}/join")
        answer.raise_for_status()
    seat = answer.json()
    candidate = SpokenCandidate(language)
    await candidate.join(seat["serverUrl"], seat["participantToken"])
    await candidate.talk()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A candidate that speaks.")
    parser.add_argument("service")
    parser.add_argument("interview_id")
    parser.add_argument("--language", choices=sorted(ANSWERS), default="en")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.service, arguments.interview_id, arguments.language))

"""Speech without any account: espeak-ng where it is installed, else tones."""

from __future__ import annotations

import array
import asyncio
import math
import shutil
import uuid
from typing import Any

from livekit.agents import APIConnectionError, APIConnectOptions, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS

ESPEAK_RATE = 22_050  # samples a second, of espeak-ng's voices
WAV_HEADER = 44  # bytes; espeak-ng cannot know the length when it writes to a pipe, so that the header is useless
CHUNK = 16_384  # bytes
TONE_RATE = 24_000
TONES_PER_WORD = (0.12, 0.06)  # seconds of tone and of silence


class EspeakTTS(tts.TTS[str]):
    """Runs `espeak-ng` once for each text. Sentences come in a tenth of a second."""

    def __init__(self, language: str) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=ESPEAK_RATE, num_channels=1)
        self.language = language

    @property
    def model(self) -> str:
        return "espeak-ng"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _EspeakStream(tts=self, input_text=text, conn_options=conn_options, language=self.language)


class _EspeakStream(tts.ChunkedStream):
    def __init__(self, *, tts: EspeakTTS, input_text: str, conn_options: APIConnectOptions, language: str) -> None:
        super().__init__(tts=tts, input_text=input_text, conn_options=conn_options)
        self._language = language

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=uuid.uuid4().hex, sample_rate=ESPEAK_RATE, num_channels=1, mime_type="audio/pcm"
        )
        process = await asyncio.create_subprocess_exec(
            *("espeak-ng", "--stdin", "--stdout", "-v", self._language, "-s", "155"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            wav, _ = await process.communicate(self._input_text.encode())
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode or len(wav) <= WAV_HEADER:
            raise APIConnectionError(f"espeak-ng ended with {process.returncode}", retryable=False)
        for start in range(WAV_HEADER, len(wav), CHUNK):
            output_emitter.push(wav[start : start + CHUNK])
        output_emitter.flush()


class ToneTTS(tts.TTS[str]):
    """A tone for each word, so that a demo without espeak-ng is heard, though not understood."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=TONE_RATE, num_channels=1)

    @property
    def model(self) -> str:
        return "tones"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _ToneStream(tts=self, input_text=text, conn_options=conn_options)


class _ToneStream(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=uuid.uuid4().hex, sample_rate=TONE_RATE, num_channels=1, mime_type="audio/pcm"
        )
        for word in self._input_text.split():
            output_emitter.push(_tone(300.0 + 40.0 * (len(word) % 8)))
        output_emitter.flush()


def _tone(frequency: float) -> bytes:
    sound, silence = (round(seconds * TONE_RATE) for seconds in TONES_PER_WORD)
    wave = (round(6000 * math.sin(2 * math.pi * frequency * n / TONE_RATE)) for n in range(sound))
    return array.array("h", [*wave, *([0] * silence)]).tobytes()


def offline_tts(language: str) -> tts.TTS[Any]:
    """Return what can speak on this machine."""
    return EspeakTTS(language) if shutil.which("espeak-ng") else ToneTTS()

"""Waits for an answer: the voice activity says when, speech recognition, if there is one, what."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

from livekit.agents import AgentSession, APIConnectOptions, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer
from livekit.agents.voice.events import UserInputTranscribedEvent, UserStateChangedEvent

logger = logging.getLogger("interviewer")

PAUSE = 1.3  # seconds of silence that end an answer
PATIENCE = 15.0  # seconds of silence before the question is asked again
TEXT_WAIT = 3.0  # seconds that the text of an answer may take after its last word


@dataclass(frozen=True)
class Answer:
    text: str  # empty without speech recognition
    seconds: float  # of speech


class Interruption(Enum):
    """Why there is no answer."""

    SILENCE = "the candidate said nothing"
    RETURNED = "the candidate is back after having been away"
    TIME_OVER = "the interview has to end now"


class Hearing:
    """Follows the candidate's voice in an AgentSession."""

    def __init__(self, session: AgentSession[None], *, has_text: bool) -> None:
        self._has_text = has_text
        self._changed = asyncio.Event()
        self._interruption: Interruption | None = None
        self._texts: list[str] = []
        self._seconds = 0.0
        self._speaking_since: float | None = None
        self._stopped_at = 0.0
        session.on("user_state_changed", self._on_state)
        session.on("user_input_transcribed", self._on_text)

    def interrupt(self, why: Interruption) -> None:
        """End the wait for an answer. TIME_OVER stays: every further wait ends at once."""
        if self._interruption is not Interruption.TIME_OVER:
            self._interruption = why
        self._changed.set()

    async def answer(self, *, at_most: float) -> Answer | Interruption:
        """Return the next answer: from the first word to a pause, or so many seconds of it."""
        self._texts, self._seconds = [], 0.0
        asked_at = time.monotonic()
        while True:
            if why := self._interruption:
                if why is not Interruption.TIME_OVER:
                    self._interruption = None
                return why
            wait = self._wait(asked_at, at_most)
            if wait <= 0:
                return self._result()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _wait(self, asked_at: float, at_most: float) -> float:
        """Return how many seconds may pass without news before the wait is over."""
        now = time.monotonic()
        if self._speaking_since is not None:
            return self._speaking_since + at_most - self._seconds - now
        if self._seconds == 0:
            return asked_at + PATIENCE - now
        pause = TEXT_WAIT if self._has_text and not self._texts else PAUSE
        return self._stopped_at + pause - now

    def _result(self) -> Answer | Interruption:
        seconds = self._seconds
        if self._speaking_since is not None:
            seconds += time.monotonic() - self._speaking_since
        return Answer(" ".join(self._texts), seconds) if seconds else Interruption.SILENCE

    def _on_state(self, event: UserStateChangedEvent) -> None:
        now = time.monotonic()
        if event.new_state == "speaking":
            self._speaking_since = now
        elif self._speaking_since is not None:
            self._seconds += now - self._speaking_since
            self._speaking_since, self._stopped_at = None, now
        self._changed.set()

    def _on_text(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final and event.transcript.strip():
            self._texts.append(event.transcript.strip())
            self._changed.set()


class ForgivingSTT(stt.STT[str]):
    """Speech recognition that fails without ending the interview: `has_failed` says so to the recruiter."""

    def __init__(self, wrapped: stt.STT[Any]) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._wrapped = wrapped
        self.has_failed = False

    @property
    def model(self) -> str:
        return self._wrapped.model

    async def _recognize_impl(
        self, buffer: AudioBuffer, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> stt.SpeechEvent:
        try:
            return await self._wrapped.recognize(buffer, language=language, conn_options=DEFAULT_API_CONNECT_OPTIONS)
        except Exception:
            logger.exception("speech recognition failed; the interview goes on without this answer's text")
            self.has_failed = True
            return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT)

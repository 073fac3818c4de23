import asyncio
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.events import UserInputTranscribedEvent, UserStateChangedEvent

import hearing
from hearing import Answer, ForgivingSTT, Hearing, Interruption


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, seconds in {"PAUSE": 0.05, "PATIENCE": 0.1, "TEXT_WAIT": 0.2}.items():
        monkeypatch.setattr(hearing, name, seconds)
    return rtc.EventEmitter[str]()


def speak(session: Any, text: str = "") -> None:
    session.emit("user_state_changed", UserStateChangedEvent(old_state="listening", new_state="speaking"))
    if text:
        session.emit("user_input_transcribed", UserInputTranscribedEvent(transcript=text, is_final=True))


def stop(session: Any) -> None:
    session.emit("user_state_changed", UserStateChangedEvent(old_state="speaking", new_state="listening"))


async def test_a_pause_ends_the_answer(session: Any) -> None:
    ears = Hearing(session, has_text=True)
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, speak, session, "I ")
    loop.call_later(0.03, stop, session)
    loop.call_later(0.05, speak, session, "bake")
    loop.call_later(0.07, stop, session)
    answer = await ears.answer(at_most=10)
    assert isinstance(answer, Answer)
    assert answer.text == "I bake"
    assert 0 < answer.seconds < 10


async def test_an_answer_without_text_has_a_length(session: Any) -> None:
    ears = Hearing(session, has_text=False)
    asyncio.get_running_loop().call_soon(speak, session)
    asyncio.get_running_loop().call_later(0.03, stop, session)
    answer = await ears.answer(at_most=10)
    assert isinstance(answer, Answer)
    assert answer.text == ""
    assert 0 < answer.seconds < 10


async def test_an_answer_is_cut_at_its_limit(session: Any) -> None:
    ears = Hearing(session, has_text=False)
    asyncio.get_running_loop().call_soon(speak, session)
    answer = await ears.answer(at_most=0.05)
    assert isinstance(answer, Answer)
    assert answer.seconds >= 0.05


async def test_nothing_is_silence(session: Any) -> None:
    assert await Hearing(session, has_text=False).answer(at_most=10) is Interruption.SILENCE


async def test_a_return_interrupts_once_and_the_end_always(session: Any) -> None:
    ears = Hearing(session, has_text=False)
    asyncio.get_running_loop().call_soon(ears.interrupt, Interruption.RETURNED)
    assert await ears.answer(at_most=10) is Interruption.RETURNED
    assert await ears.answer(at_most=10) is Interruption.SILENCE
    ears.interrupt(Interruption.TIME_OVER)
    ears.interrupt(Interruption.RETURNED)
    assert await ears.answer(at_most=10) is Interruption.TIME_OVER
    assert await ears.answer(at_most=10) is Interruption.TIME_OVER


class BrokenSTT(stt.STT[str]):
    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(self, *_: Any, **__: Any) -> stt.SpeechEvent:
        raise APIConnectionError("away", retryable=False)


async def test_failing_recognition_does_not_end_the_interview() -> None:
    recognition = ForgivingSTT(BrokenSTT())
    silence = rtc.AudioFrame(b"\0\0" * 160, 16_000, 1, 160)
    event = await recognition.recognize([silence], conn_options=DEFAULT_API_CONNECT_OPTIONS)
    assert event.alternatives == []
    assert recognition.has_failed

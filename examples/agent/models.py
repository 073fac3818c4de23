"""Speech recognition, language model and voice: from the environment, each with an offline stand-in.

For each of STT, LLM and TTS: `<PART>_MODEL` turns it on, `<PART>_BASE_URL` and `<PART>_API_KEY` say where. Without
those OPENAI_BASE_URL and OPENAI_API_KEY count. Any server with OpenAI's API will do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interview_agent import Models
from livekit.agents import llm, stt, tts

from espeak import offline_tts

AGENT_VERSION = "1"
LOCAL_KEY = "none"  # for a server that asks for no key; the client library insists on one


@dataclass(frozen=True)
class Endpoint:
    """Where a model is."""

    model: str
    base_url: str | None
    api_key: str

    @classmethod
    def of(cls, part: str, environment: Mapping[str, str]) -> Endpoint | None:
        """Return the part's endpoint, None without `<PART>_MODEL`."""
        model = environment.get(f"{part}_MODEL")
        if not model:
            return None
        base_url = environment.get(f"{part}_BASE_URL") or environment.get("OPENAI_BASE_URL") or None
        api_key = environment.get(f"{part}_API_KEY") or environment.get("OPENAI_API_KEY") or LOCAL_KEY
        return cls(model, base_url, api_key)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that all of LiveKit's plugins for OpenAI's API take."""
        options = {"model": self.model, "api_key": self.api_key, "base_url": self.base_url}
        return {name: value for name, value in options.items() if value}


@dataclass(frozen=True)
class Speech:
    """What the agent hears, thinks and speaks with. None: it does without."""

    stt: stt.STT[Any] | None
    llm: llm.LLM[Any] | None
    tts: tts.TTS[Any]

    @property
    def models(self) -> Models:
        return Models(
            stt=self.stt.model if self.stt else "",
            llm=self.llm.model if self.llm else "",
            tts=self.tts.model,
            agent_version=AGENT_VERSION,
        )


def load(language: str, environment: Mapping[str, str] = os.environ) -> Speech:
    """Return the models for one interview."""
    hears, thinks, speaks = (Endpoint.of(part, environment) for part in ("STT", "LLM", "TTS"))
    if not (hears or thinks or speaks):
        return Speech(None, None, offline_tts(language))
    from livekit.plugins import openai  # takes half a second, which an agent without keys saves

    voice = environment.get("TTS_VOICE") or "alloy"
    return Speech(
        stt=openai.STT(language=language, **hears.options) if hears else None,
        llm=openai.LLM(**thinks.options) if thinks else None,
        tts=openai.TTS(voice=voice, **speaks.options) if speaks else offline_tts(language),
    )

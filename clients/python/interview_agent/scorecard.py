"""A shape for the interview's result. Offered, not enforced: the result may be any JSON.

Evidence names lines of the transcript, so that a recruiter can check each score. There is no place for emotions or
traits of the voice: they say nothing reliable about a candidate's work, and laws on AI in hiring restrict them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "interview.scorecard/1"
KEYS = {
    "heard_seconds": "heardSeconds",
    "follow_ups": "followUps",
    "line_id": "lineId",
    "agent_version": "agentVersion",
}


@dataclass(frozen=True)
class AskedQuestion:
    """What was asked, and what was heard. `answer` is empty if no speech recognition ran."""

    id: str
    text: str
    answer: str = ""
    heard_seconds: float = 0.0
    follow_ups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """A line of the transcript, by the id that `say_line` returned, and what in it counts."""

    line_id: str
    quote: str


@dataclass(frozen=True)
class Competency:
    """A score, for example 3 of 5, and why."""

    name: str
    score: float
    scale: float
    rationale: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Models:
    """What heard, thought and spoke."""

    stt: str = ""
    llm: str = ""
    tts: str = ""
    agent_version: str = ""


@dataclass(frozen=True)
class Scorecard:
    """Pass it to `complete(result=...)`."""

    language: str
    questions: tuple[AskedQuestion, ...] = ()
    competencies: tuple[Competency, ...] = ()
    flags: tuple[str, ...] = ()  # what a recruiter should know, for example "speech recognition failed"
    models: Models = Models()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the service stores."""
        fields: dict[str, Any] = _camel(asdict(self))
        return {"schema": SCHEMA, **fields}


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {KEYS.get(key, key): _camel(each) for key, each in value.items()}
    return [_camel(each) for each in value] if isinstance(value, (list, tuple)) else value

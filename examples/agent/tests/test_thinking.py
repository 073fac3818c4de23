import json
from typing import Any

import pytest
from interview_agent import Competency, Evidence
from livekit.agents import llm

from thinking import Assessment, Line, ModelFailed, Thinking, read_assessment

LINES = [
    Line("q", "agent", "Why do you bake?"),
    Line("a", "candidate", "I bake because bread needs patience."),
]


def reply(*evidence: dict[str, Any]) -> str:
    competency = {"name": "care", "score": 4, "scale": 5, "rationale": "Names it.", "evidence": list(evidence)}
    return "```json\n" + json.dumps({"summary": "Patient.", "competencies": [competency]}) + "\n```"


def test_evidence_points_at_the_candidates_lines() -> None:
    assert read_assessment(reply({"lineId": "a", "quote": "bread needs patience"}), LINES) == Assessment(
        "Patient.",
        (Competency("care", 4, 5, "Names it.", (Evidence("a", "bread needs patience"),)),),
        0,
    )


@pytest.mark.parametrize(
    "evidence",
    [
        {"lineId": "q", "quote": "Why do you bake?"},
        {"lineId": "a", "quote": "I burn bread"},
        {"lineId": "x", "quote": "bread"},
        {"lineId": "a", "quote": ""},
        {"lineId": "a"},
    ],
    ids=["the agent's words", "invented", "no such line", "empty", "missing"],
)
def test_a_score_without_evidence_is_left_out(evidence: dict[str, Any]) -> None:
    assert read_assessment(reply(evidence), LINES) == Assessment("Patient.", (), 1)


@pytest.mark.parametrize("text", ["", "I cannot do that.", "{", "{]}"])
def test_no_json_is_no_assessment(text: str) -> None:
    assert read_assessment(text, LINES) == Assessment("", (), 0)


class ScriptedLLM(llm.LLM[str]):
    """Answers with one text after the other; an exception is raised."""

    def __init__(self, *replies: str | Exception) -> None:
        super().__init__()
        self.replies = list(replies)
        self.asked: list[str] = []

    def chat(self, *, chat_ctx: llm.ChatContext, **_: Any) -> Any:
        self.asked.append("\n".join(str(item.text_content) for item in chat_ctx.messages()))
        return ScriptedStream(self.replies.pop(0))


class ScriptedStream:
    def __init__(self, reply: str | Exception) -> None:
        self.reply = reply

    async def __aenter__(self) -> "ScriptedStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def collect(self) -> llm.CollectedResponse:
        if isinstance(self.reply, Exception):
            raise self.reply
        return llm.CollectedResponse(text=self.reply)


def thinking(*replies: str | Exception) -> Thinking:
    return Thinking(ScriptedLLM(*replies), job_title="Baker", language="en")


@pytest.mark.parametrize(
    ("said", "expected"), [("How so?\n", "How so?"), ("NONE", None), ('"NONE".', None), ("", None)]
)
async def test_a_follow_up_or_none(said: str, expected: str | None) -> None:
    assert await thinking(said).follow_up("Why?", "Because.") == expected


async def test_one_failure_is_passed_over_and_the_second_is_not() -> None:
    asked = thinking(OSError(), "How so?", OSError(), OSError())
    assert await asked.follow_up("Why?", "Because.") is None
    assert await asked.follow_up("Why?", "Because.") == "How so?"
    assert await asked.follow_up("Why?", "Because.") is None
    with pytest.raises(ModelFailed):
        await asked.follow_up("Why?", "Because.")


async def test_the_model_gets_job_rubric_and_lines() -> None:
    model = ScriptedLLM("{}")
    await Thinking(model, job_title="Baker", language="ar").assess(LINES, {"care": 5})
    [prompt] = model.asked
    for part in ("the position Baker", "the language ar", '{"care": 5}', '"id": "a"', "bread needs patience"):
        assert part in prompt

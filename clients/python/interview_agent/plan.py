"""A shape for the interview's context: what to ask. Offered, not enforced: the context may be any JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interview_agent.errors import PlanError
from interview_agent.fields import FieldReader, shown


@dataclass(frozen=True)
class PlannedQuestion:
    """One question. `max_seconds` is how long an answer may take, 0 for no limit."""

    id: str
    text: str
    follow_ups: int = 0  # at most so many further questions about the answer
    max_seconds: int = 0


@dataclass(frozen=True)
class InterviewPlan:
    """`{"language": "en", "questions": [{"id", "text", "followUps", "maxSeconds"}], "rubric": ..., "disclosure": ""}`.

    Only the questions' texts are required. A question without an id has its place as id: "1", "2", ...
    """

    questions: tuple[PlannedQuestion, ...] = ()
    language: str = ""  # BCP 47, for example "ar"; empty: the agent chooses
    rubric: Any = None  # any JSON, for the model that scores
    disclosure: str = ""  # what the agent says about itself before the first question; empty: its own words

    @classmethod
    def parse(cls, context: Any) -> InterviewPlan:
        """Read a context. null is an empty plan. Raises PlanError, which names every mistyped field."""
        if context is None:
            return cls()
        if not isinstance(context, dict):
            raise PlanError([f"it is {shown(context)} instead of an object"])
        reader = FieldReader(context)
        language = reader.optional("language", str, "")
        disclosure = reader.optional("disclosure", str, "")
        questions, problems = _questions(context.get("questions") or [])
        if reader.problems or problems:
            raise PlanError([*reader.problems, *problems])
        return cls(questions, language, context.get("rubric"), disclosure)


def _questions(values: Any) -> tuple[tuple[PlannedQuestion, ...], list[str]]:
    if not isinstance(values, list):
        return (), [f"questions is {shown(values)} instead of a list"]
    read = [_question(value, place) for place, value in enumerate(values, start=1)]
    problems = [problem for _, of_one in read for problem in of_one]
    questions = tuple(question for question, _ in read)
    ids = [question.id for question in questions]
    problems += [f"the question id {each!r} occurs twice" for each in sorted({i for i in ids if ids.count(i) > 1})]
    return questions, problems


def _question(value: Any, place: int) -> tuple[PlannedQuestion, Sequence[str]]:
    if isinstance(value, str):
        return PlannedQuestion(str(place), value), ()
    if not isinstance(value, dict):
        return PlannedQuestion(str(place), ""), [f"questions[{place - 1}] is {shown(value)} instead of an object"]
    reader = FieldReader(value, f"questions[{place - 1}].")
    question = PlannedQuestion(
        id=reader.optional("id", str, str(place)),
        text=reader.required("text", str),
        follow_ups=reader.optional("followUps", int, 0),
        max_seconds=reader.optional("maxSeconds", int, 0),
    )
    return question, reader.problems

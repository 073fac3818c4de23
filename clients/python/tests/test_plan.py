import pytest

from interview_agent import (
    AskedQuestion,
    Competency,
    Evidence,
    InterviewPlan,
    Models,
    PlanError,
    PlannedQuestion,
    Scorecard,
)


def test_a_whole_plan_is_read() -> None:
    plan = InterviewPlan.parse(
        {
            "language": "ar",
            "questions": [{"id": "q1", "text": "لماذا؟", "followUps": 2, "maxSeconds": 90}, "And then?"],
            "rubric": {"depth": 5},
            "disclosure": "I am an AI.",
            "more": 1,
        }
    )
    assert plan == InterviewPlan(
        (PlannedQuestion("q1", "لماذا؟", 2, 90), PlannedQuestion("2", "And then?")),
        "ar",
        {"depth": 5},
        "I am an AI.",
    )


def test_no_context_is_an_empty_plan() -> None:
    assert InterviewPlan.parse(None) == InterviewPlan()


def test_every_problem_is_named() -> None:
    with pytest.raises(PlanError) as raised:
        InterviewPlan.parse({"language": 1, "questions": [{"id": "a", "text": "?"}, {"id": "a"}, 3]})
    assert raised.value.problems == (
        "language is a number instead of a string",
        "questions[1].text is missing",
        "questions[2] is a number instead of an object",
        "the question id 'a' occurs twice",
    )


@pytest.mark.parametrize("context", ["text", {"questions": {"1": "?"}}, {"questions": 1}])
def test_other_shapes_are_refused(context: object) -> None:
    with pytest.raises(PlanError):
        InterviewPlan.parse(context)


def test_a_scorecard_has_the_published_keys() -> None:
    scorecard = Scorecard(
        "en",
        (AskedQuestion("q1", "Why?", "Because.", 3.5, ("How so?",)),),
        (Competency("depth", 3, 5, "Explains causes.", (Evidence("line", "Because."),)),),
        ("short",),
        Models("none", "none", "espeak-ng", "1.0"),
    )
    assert scorecard.to_json() == {
        "schema": "interview.scorecard/1",
        "language": "en",
        "questions": [
            {"id": "q1", "text": "Why?", "answer": "Because.", "heardSeconds": 3.5, "followUps": ["How so?"]}
        ],
        "competencies": [
            {
                "name": "depth",
                "score": 3,
                "scale": 5,
                "rationale": "Explains causes.",
                "evidence": [{"lineId": "line", "quote": "Because."}],
            }
        ],
        "flags": ["short"],
        "models": {"stt": "none", "llm": "none", "tts": "espeak-ng", "agentVersion": "1.0"},
    }

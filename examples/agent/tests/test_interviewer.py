import dataclasses
from typing import Any

import pytest
from interview_agent import InterviewMetadata, InterviewPlan, PlannedQuestion

from interviewer import Interviewer

PLAN = InterviewPlan((PlannedQuestion("a", "Why?", follow_ups=1), PlannedQuestion("b", "And then?")), "en")


@pytest.fixture
def interviewer(metadata: InterviewMetadata) -> Interviewer:
    return Interviewer(metadata, PLAN)


def test_the_first_sentence_says_that_it_is_an_ai(interviewer: Interviewer) -> None:
    opening = interviewer.opening()
    assert opening.startswith("Hello. I am an AI interviewer, not a person, and I work for MENA Bank.")
    assert opening.endswith("Why?")


def test_the_platforms_own_disclosure_comes_first(metadata: InterviewMetadata) -> None:
    plan = dataclasses.replace(PLAN, disclosure="This is a machine.")
    assert Interviewer(metadata, plan).opening().startswith("This is a machine. Welcome, Noura.")


def test_questions_come_in_order(interviewer: Interviewer) -> None:
    interviewer.opening()
    interviewer.heard("Because.", 3)
    assert interviewer.next_question() == "Thank you. This is the last question. And then?"
    assert interviewer.is_last_question
    interviewer.heard("", 2.04)
    assert interviewer.next_question() is None
    assert interviewer.current is None
    assert [record.as_asked().answer for record in interviewer.records] == ["Because.", ""]
    assert [record.as_asked().heard_seconds for record in interviewer.records] == [3, 2.0]


def test_a_follow_up_belongs_to_its_question(interviewer: Interviewer) -> None:
    interviewer.opening()
    interviewer.heard("Because.", 3)
    assert interviewer.may_follow_up()
    assert interviewer.follow_up("How so?") == "How so?"
    assert not interviewer.may_follow_up()
    assert interviewer.repeat() == "Welcome back. I will repeat the question. How so?"
    interviewer.heard("Like this.", 2)
    asked = interviewer.records[0].as_asked()
    assert (asked.answer, asked.heard_seconds, asked.follow_ups) == ("Because. Like this.", 5, ("How so?",))


def test_silence_is_asked_again_once(interviewer: Interviewer) -> None:
    interviewer.opening()
    assert interviewer.silence() == "I did not hear an answer. I will ask once more. Why?"
    assert interviewer.silence() == "Thank you. This is the last question. And then?"
    assert interviewer.silence() == "I did not hear an answer. I will ask once more. And then?"
    assert interviewer.silence() is None


def test_the_next_agent_goes_on_at_the_question(metadata: InterviewMetadata, interviewer: Interviewer) -> None:
    interviewer.opening()
    interviewer.heard("Because.", 3)
    interviewer.follow_up("How so?")
    resumed = Interviewer(metadata, PLAN, interviewer.state)
    assert resumed.opening() == f"{resumed.texts.resumed} How so?"
    assert "AI" in resumed.opening()
    assert resumed.records[0].heard_seconds == 3
    assert not resumed.may_follow_up()
    resumed.heard("Like this.", 1)
    assert resumed.next_question() == "Thank you. This is the last question. And then?"


@pytest.mark.parametrize(
    "saved", [{}, {"question": 1}, {"question": 1, "heard": [1], "followUps": [[]]}, {"question": "1"}]
)
def test_a_state_of_another_version_starts_over(metadata: InterviewMetadata, saved: dict[str, Any]) -> None:
    assert Interviewer(metadata, PLAN, saved).opening().endswith("Why?")


def test_without_a_context_questions_are_about_the_job(metadata: InterviewMetadata) -> None:
    interviewer = Interviewer(metadata, InterviewPlan())
    assert interviewer.opening().endswith("What interests you about the position Baker?")
    assert len(interviewer.records) == 4


@pytest.mark.parametrize(
    ("language", "instructions", "expected"),
    [("ar-SA", "Welcome", "ar"), ("", "مرحبا بك في المقابلة", "ar"), ("", "Welcome", "en"), ("en", "مرحبا", "en")],
)
def test_the_language_is_the_plans_or_the_instructions(
    metadata: InterviewMetadata, language: str, instructions: str, expected: str
) -> None:
    metadata = dataclasses.replace(metadata, instructions=instructions)
    interviewer = Interviewer(metadata, InterviewPlan(language=language))
    assert interviewer.texts.language == expected


def test_arabic_is_spoken_throughout(metadata: InterviewMetadata) -> None:
    opening = Interviewer(metadata, InterviewPlan(language="ar")).opening()
    assert opening.startswith("مرحبا. أنا محاور آلي يعمل بالذكاء الاصطناعي")

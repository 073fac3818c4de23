"""The conversation: what to say next. No I/O, so that every turn can be tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interview_agent import AskedQuestion, InterviewMetadata, InterviewPlan, PlannedQuestion

from texts import Texts, texts_for


@dataclass
class Record:
    """What was asked and heard for one question."""

    question: PlannedQuestion
    answers: list[str] = field(default_factory=list)
    heard_seconds: float = 0.0
    follow_ups: list[str] = field(default_factory=list)

    def as_asked(self) -> AskedQuestion:
        return AskedQuestion(
            id=self.question.id,
            text=self.question.text,
            answer=" ".join(self.answers),
            heard_seconds=round(self.heard_seconds, 1),
            follow_ups=tuple(self.follow_ups),
        )


class Interviewer:
    """Asks the questions one after the other. `saved` is the `state` of an earlier agent of the same interview."""

    def __init__(
        self, metadata: InterviewMetadata, plan: InterviewPlan, saved: Mapping[str, Any] | None = None
    ) -> None:
        self.texts = texts_for(plan.language, metadata.instructions + metadata.job_title)
        self._metadata = metadata
        self._disclosure = plan.disclosure or self.texts.disclosure.format(company=metadata.company_name)
        questions = plan.questions or _questions_about(metadata.job_title, self.texts)
        self.records = [Record(question) for question in questions]
        self._index = 0
        self._spoken = ""  # the question that waits for its answer: the planned one or a follow-up
        self._is_asked_again = False
        self._is_resumed = saved is not None
        if saved:
            self._restore(saved)

    @property
    def current(self) -> Record | None:
        """The question that waits for its answer, None once all were asked."""
        return self.records[self._index] if self._index < len(self.records) else None

    @property
    def is_last_question(self) -> bool:
        return self._index >= len(self.records) - 1

    @property
    def state(self) -> dict[str, Any]:
        """Where the interview is, for a checkpoint. A few hundred bytes: what was said is in the transcript."""
        return {
            "question": self._index,
            "spoken": self._spoken,
            "heard": [round(record.heard_seconds, 1) for record in self.records],
            "followUps": [record.follow_ups for record in self.records],
        }

    def opening(self) -> str:
        """Return what the agent says first: that it is an AI, or that it goes on after an interruption."""
        if self.current is None:
            return self.texts.resumed
        question = self._spoken or self.current.question.text
        self._spoken = question
        if self._is_resumed:
            return f"{self.texts.resumed} {question}"
        welcome = self.texts.welcome.format(name=self._metadata.participant_name, job=self._metadata.job_title)
        return f"{self._disclosure} {welcome} {question}"

    def repeat(self) -> str:
        """Return the question again, for a candidate who is back."""
        return f"{self.texts.back} {self._spoken}"

    def heard(self, text: str, seconds: float) -> None:
        """Record an answer. `text` is empty without speech recognition."""
        record = self.current
        if record is None:
            return
        if text:
            record.answers.append(text)
        record.heard_seconds += seconds
        self._is_asked_again = False

    def may_follow_up(self) -> bool:
        """Return whether the plan allows one more question about this answer."""
        record = self.current
        return record is not None and len(record.follow_ups) < record.question.follow_ups

    def follow_up(self, question: str) -> str:
        """Ask about the answer, and wait for another one."""
        if self.current is not None:
            self.current.follow_ups.append(question)
        self._spoken = question
        return question

    def next_question(self) -> str | None:
        """Go on to the next question, None if that was the last."""
        self._index += 1
        self._is_asked_again = False
        record = self.current
        if record is None:
            return None
        self._spoken = record.question.text
        connective = self.texts.last if self.is_last_question else self.texts.next
        return f"{connective} {self._spoken}"

    def silence(self) -> str | None:
        """Return the question again, once. Then go on to the next, None if that was the last."""
        if self._is_asked_again:
            return self.next_question()
        self._is_asked_again = True
        return f"{self.texts.still_there} {self._spoken}"

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Take up a state. One of another version of this agent, or of another plan, starts over."""
        heard, follow_ups, index = saved.get("heard"), saved.get("followUps"), saved.get("question")
        if not (isinstance(heard, list) and isinstance(follow_ups, list) and isinstance(index, int)):
            return
        if len(heard) != len(self.records) or len(follow_ups) != len(self.records):
            return
        self._index = max(index, 0)
        self._spoken = str(saved.get("spoken") or "")
        for record, seconds, questions in zip(self.records, heard, follow_ups, strict=True):
            record.heard_seconds = float(seconds)
            record.follow_ups = [str(question) for question in questions]


def _questions_about(job_title: str, texts: Texts) -> tuple[PlannedQuestion, ...]:
    """Return questions that fit any job, for an interview without a context."""
    return tuple(
        PlannedQuestion(str(place), text.format(job=job_title), follow_ups=1)
        for place, text in enumerate(texts.questions, start=1)
    )

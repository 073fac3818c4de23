"""One interview: speaks what the Interviewer chooses, hears the answers, keeps the record."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from interview_agent import Interview, InterviewAgentError, InterviewPlan, Scorecard
from livekit.agents import AgentSession

from hearing import Answer, ForgivingSTT, Hearing, Interruption
from interviewer import Interviewer
from models import Speech
from thinking import Assessment, Line, ModelFailed, Thinking

logger = logging.getLogger("interviewer")

LONGEST_ANSWER = 180.0  # seconds, where the plan has no limit
WRAP_UP_AT = 60.0  # seconds left: no further question after the answer that is being given
GOODBYE_AT = 20.0


class Conversation:
    """Speaks, listens, and writes down, until the last question is answered or time is over."""

    def __init__(
        self,
        interview: Interview,
        session: AgentSession[None],
        hearing: Hearing,
        interviewer: Interviewer,
        plan: InterviewPlan,
        speech: Speech,
        recognition: ForgivingSTT | None,
    ) -> None:
        self._interview = interview
        self._session = session
        self._hearing = hearing
        self._interviewer = interviewer
        self._plan = plan
        self._speech = speech
        self._recognition = recognition
        self._texts = interviewer.texts
        self._lines: list[Line] = []
        self._flags: list[str] = []
        self._is_wrapping_up = False
        self._thinking = self._make_thinking()

    def _make_thinking(self) -> Thinking | None:
        if self._speech.llm is None:
            return None
        job_title = self._interview.metadata.job_title
        return Thinking(self._speech.llm, job_title=job_title, language=self._texts.language)

    async def run(self) -> None:
        """Hold the interview and report it."""
        self._interview.on_time(self._on_time)
        self._interview.on_return(self._on_return)
        try:
            say: str | None = self._interviewer.opening()
            while say is not None and self._interviewer.current is not None:
                await self._checkpoint()
                if self._interviewer.is_last_question:
                    self._interview.last_question_asked()
                await self._speak(say)
                say = await self._turn()
            await self._finish()
        except ModelFailed:
            await self._speak(self._texts.apology)
            await self._interview.fail(summary="The language model did not answer.", result=self._scorecard(()))

    async def _turn(self) -> str | None:
        """Wait for an answer, and return what to say next, None if nothing is left to ask."""
        record = self._interviewer.current
        at_most = float(record.question.max_seconds) if record and record.question.max_seconds else LONGEST_ANSWER
        heard = await self._hearing.answer(at_most=at_most)
        if isinstance(heard, Answer):
            self._record(heard)
            return None if self._is_wrapping_up else await self._next(heard)
        if heard is Interruption.RETURNED:
            return self._interviewer.repeat()
        return await self._silence() if heard is Interruption.SILENCE else None

    async def _silence(self) -> str | None:
        """Ask again, unless the candidate is away: then whoever comes back hears the question."""
        if not self._interview.is_candidate_connected:
            return await self._turn()
        return None if self._is_wrapping_up else self._interviewer.silence()

    async def _next(self, answer: Answer) -> str | None:
        record = self._interviewer.current
        if self._thinking and record and answer.text and self._interviewer.may_follow_up():
            question = await self._thinking.follow_up(record.question.text, answer.text)
            if question:
                return self._interviewer.follow_up(question)
        return self._interviewer.next_question()

    def _record(self, answer: Answer) -> None:
        self._interviewer.heard(answer.text, answer.seconds)
        text = answer.text or f"[spoke for {answer.seconds:.0f} seconds; no speech recognition]"
        self._write_line("candidate", text)

    async def _speak(self, text: str) -> None:
        self._write_line("agent", text)
        await self._session.say(text, allow_interruptions=False)

    def _write_line(self, speaker: Any, text: str) -> None:
        self._lines.append(Line(self._interview.say_line(speaker, text), speaker, text))

    async def _checkpoint(self) -> None:
        """Store the place. An interview goes on without it: only a crash would cost more then."""
        try:
            await self._interview.checkpoint(self._interviewer.state)
        except InterviewAgentError as error:
            logger.warning("no checkpoint: %s", error)

    async def _finish(self) -> None:
        is_over = self._interview.time_left <= GOODBYE_AT or self._is_wrapping_up
        await self._speak(self._texts.out_of_time if is_over else self._texts.goodbye)
        assessment = await self._assess()
        await self._interview.complete(
            summary=assessment.summary or self._summary(), result=self._scorecard(assessment.competencies)
        )

    async def _assess(self) -> Assessment:
        """Score what was said. A score is worth less than the report itself, so that a failure is only flagged."""
        nothing = Assessment("", (), 0)
        if self._thinking is None:
            return nothing
        try:
            async with asyncio.timeout(max(self._interview.time_left - 3, 1)):
                assessment = await self._thinking.assess(self._lines, self._plan.rubric)
        except (ModelFailed, TimeoutError):
            self._flags.append("The language model gave no scores.")
            return nothing
        if assessment.dropped:
            self._flags.append(f"{assessment.dropped} pieces of evidence were not in the transcript, and left out.")
        return assessment

    def _summary(self) -> str:
        answered = sum(record.heard_seconds > 0 for record in self._interviewer.records)
        return f"{answered} of {len(self._interviewer.records)} questions were answered."

    def _scorecard(self, competencies: Any) -> Scorecard:
        flags = list(self._flags)
        if self._recognition is None:
            flags.append("No speech recognition: answers have a length, and no text.")
        elif self._recognition.has_failed:
            flags.append("Speech recognition failed for some answers.")
        asked = tuple(record.as_asked() for record in self._interviewer.records)
        return Scorecard(self._texts.language, asked, tuple(competencies), tuple(flags), self._speech.models)

    async def _on_time(self, seconds: float) -> None:
        if seconds <= WRAP_UP_AT:
            self._is_wrapping_up = True
        if seconds <= GOODBYE_AT:
            self._hearing.interrupt(Interruption.TIME_OVER)

    async def _on_return(self) -> None:
        self._hearing.interrupt(Interruption.RETURNED)

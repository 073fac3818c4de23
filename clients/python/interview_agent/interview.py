"""One interview, from the agent's side."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from interview_agent.candidate import CandidatePresence, wait_for_candidate
from interview_agent.client import (
    MAX_TEXT,
    Checkpoint,
    Context,
    FinalOutcome,
    InterviewClient,
    Speaker,
    TranscriptLine,
)
from interview_agent.errors import ServiceError, ServiceUnavailable
from interview_agent.metadata import InterviewMetadata
from interview_agent.outcome import ATTRIBUTE, PENDING
from interview_agent.scorecard import Scorecard
from interview_agent.timekeeping import Countdown, TimeHandler, announced_seconds
from interview_agent.transcript import TranscriptSender
from interview_agent.worker import CLIENT, INTERVIEW

if TYPE_CHECKING:
    from livekit import rtc
    from livekit.agents import JobContext

logger = logging.getLogger("interview_agent")

JOIN_RETRY = 20.0  # seconds: the candidate waits in silence meanwhile
IN_ROOM_RETRY = 8.0  # seconds, before the report is left to on_session_end
CANDIDATE_WAIT = 120.0  # seconds


@dataclass(frozen=True)
class Report:
    """The outcome of the conversation. `result` is JSON."""

    outcome: FinalOutcome
    summary: str | None = None
    result: Any = None

    @classmethod
    def of(cls, outcome: FinalOutcome, summary: str | None, result: Any) -> Report:
        return cls(outcome, summary, result.to_json() if isinstance(result, Scorecard) else result)


class Interview:
    """One interview. Enter it with `async with Interview.join(ctx, service=URL, key=KEY) as interview:`.

    Leaving the block reports `completed`; an exception reports `failed`. Nothing is reported if the block is cancelled,
    because the worker stops (another agent goes on then), or if the room is gone or the candidate has left early,
    because the service knows that better. `complete` and `fail` report in any case.
    """

    def __init__(
        self,
        ctx: JobContext,
        client: InterviewClient,
        candidate: rtc.RemoteParticipant,
        metadata: InterviewMetadata,
        context: Context,
        saved: Checkpoint | None,
    ) -> None:
        self.metadata = metadata
        self.context = context.value  # any JSON; InterviewPlan.parse reads the suggested shape
        self.saved_state = saved.state if saved else None  # of the last checkpoint, if an agent was here before
        self._ctx = ctx
        self._client = client
        self._presence = CandidatePresence(ctx.room, candidate.identity)
        left = context.seconds_left
        self._countdown = Countdown(metadata.max_duration if left is None else min(left, metadata.max_duration))
        self._transcript = TranscriptSender(
            client, interview_id=metadata.interview_id, room_name=ctx.room.name, agent=self.identity
        )
        self._sequence = saved.sequence if saved and saved.agent == self.identity else 0
        self._is_last_question_asked = False
        self._report: Report | None = None
        self._is_report_sent = False
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    @asynccontextmanager
    async def join(
        cls,
        ctx: JobContext,
        *,
        service: str = "",
        key: str = "",
        client: InterviewClient | None = None,
        candidate_wait: float = CANDIDATE_WAIT,
    ) -> AsyncIterator[Interview]:
        """Connect, wait for the candidate, read metadata, context and checkpoint.

        The client is the process's, if `setup` made one, else a new one for `service` and `key`.

        Raises CandidateMissing, MetadataError, ServiceError and ServiceUnavailable. The agent has announced `pending`
        by then, so that the service counts each of them as a crash, and calls another agent.
        """
        own = None if client or CLIENT in ctx.proc.userdata else InterviewClient(service, key)
        client = client or own or ctx.proc.userdata[CLIENT]
        try:
            interview = await cls._enter(ctx, client, candidate_wait)
            ctx.proc.userdata[INTERVIEW] = interview
            async with interview:
                yield interview
        finally:
            if own:
                ctx.add_shutdown_callback(own.aclose)
            ctx.shutdown("the interview's block was left")

    @classmethod
    async def _enter(cls, ctx: JobContext, client: InterviewClient, candidate_wait: float) -> Interview:
        await ctx.connect()
        me = ctx.room.local_participant
        if me.attributes.get(ATTRIBUTE) != PENDING:  # accept_request was not used
            await me.set_attributes({ATTRIBUTE: PENDING})
        candidate, metadata = await wait_for_candidate(ctx.room, seconds=candidate_wait)
        context = await client.context(metadata.interview_id, retry_for=JOIN_RETRY)
        saved = await client.checkpoint(metadata.interview_id, retry_for=JOIN_RETRY)
        return cls(ctx, client, candidate, metadata, context, saved)

    @property
    def identity(self) -> str:
        """The agent's own LiveKit identity."""
        return self._ctx.room.local_participant.identity

    @property
    def candidate_identity(self) -> str:
        """The candidate's LiveKit identity."""
        return self._presence.identity

    @property
    def is_candidate_connected(self) -> bool:
        return self._presence.is_connected

    @property
    def time_left(self) -> float:
        """Seconds until maxDuration, when the service ends the interview and deletes the room."""
        return self._countdown.seconds_left

    def on_time(self, handler: TimeHandler) -> None:
        """Call `await handler(seconds)` once when 300, 60 and 20 seconds are left. Say goodbye at 20."""
        self._start(self._countdown.call_at_marks(handler))

    def on_return(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Call `await handler()` each time that the candidate is back. Repeat the question then."""
        self._start(self._presence.call_on_return(handler))

    def last_question_asked(self) -> None:
        """From now on the interview is complete even if the candidate leaves on its own."""
        self._is_last_question_asked = True

    def say_line(self, speaker: Speaker, text: str, *, at: datetime | None = None) -> str:
        """Add a line to the transcript, and return its id for a scorecard's evidence. Sent in the background.

        A text of more than 4,000 characters becomes several lines, and the id is the first one's. Raises ValueError for
        a text that is empty.
        """
        if not text.strip():
            raise ValueError("a line needs a text")
        said_at, line_id = at or datetime.now(timezone.utc), uuid.uuid4().hex
        for part, start in enumerate(range(0, len(text), MAX_TEXT)):
            own_id = f"{line_id}-{part}" if part else line_id
            self._transcript.add(TranscriptLine(own_id, speaker, text[start : start + MAX_TEXT], said_at))
        return line_id

    async def checkpoint(self, state: Any) -> None:
        """Store where the interview is, for the agent that goes on after a crash of this one. 64 KB of JSON at most.

        Raises Conflict once another agent has taken over, ServiceError, ServiceUnavailable.
        """
        self._sequence += 1
        await self._client.save_checkpoint(
            self.metadata.interview_id,
            room_name=self._ctx.room.name,
            checkpoint=Checkpoint(self.identity, self._sequence, state),
            retry_for=IN_ROOM_RETRY,
        )

    async def complete(self, *, summary: str | None = None, result: Any = None) -> None:
        """Report that the conversation took place. Raises ServiceError if the service refuses the report.

        A service that does not answer is asked again after the block; meanwhile the attribute tells it the outcome.
        """
        await self._send_report(Report.of("completed", summary, result))

    async def fail(self, *, summary: str | None = None, result: Any = None) -> None:
        """Report that the interview cannot go on. The candidate may join again, and gets a new attempt."""
        await self._send_report(Report.of("failed", summary, result))

    async def send_unsent(self) -> None:
        """Send the lines and the report that are left. For on_session_end; refusals are logged."""
        try:
            await self._transcript.flush()
            if self._report and not self._is_report_sent:
                await self._post(self._report, retry_for=None)
        except (ServiceError, ServiceUnavailable):
            logger.exception("the end of interview %s was not stored", self.metadata.interview_id)

    async def __aenter__(self) -> Interview:
        self._ctx.room.on("data_received", self._on_data)
        self._start(self._transcript.run())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._report is None and self._ctx.room.isconnected():
                await self._report_leaving(error)
        finally:
            self._ctx.room.off("data_received", self._on_data)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(ServiceUnavailable):  # on_session_end tries again
                await self._transcript.flush(retry_for=IN_ROOM_RETRY)

    async def _report_leaving(self, error: BaseException | None) -> None:
        """Report what leaving the block means. A refusal is logged, so that it does not hide the block's exception."""
        if isinstance(error, Exception):
            report = Report("failed", f"The agent raised {type(error).__name__}.")
        elif error is None and self._may_complete():
            report = Report("completed")
        else:
            return
        try:
            await self._send_report(report)
        except ServiceError as refusal:
            logger.warning("the outcome %s was refused: %s", report.outcome, refusal)

    def _may_complete(self) -> bool:
        """Return whether leaving the block normally means that the conversation took place."""
        return self._presence.is_connected or (self._presence.left_on_purpose and self._is_last_question_asked)

    async def _send_report(self, report: Report) -> None:
        """POST first, as it carries summary and result; then the attribute, which a webhook carries."""
        self._report, self._is_report_sent = report, False
        try:
            await self._post(report, retry_for=IN_ROOM_RETRY)
        except ServiceUnavailable as error:
            logger.warning("%s; it is sent again when the session has ended", error)
        except ServiceError:
            self._report = None
            raise
        if self._ctx.room.isconnected():
            await self._ctx.room.local_participant.set_attributes({ATTRIBUTE: report.outcome})

    async def _post(self, report: Report, *, retry_for: float | None) -> None:
        await self._client.complete(
            self.metadata.interview_id,
            room_name=self._ctx.room.name,
            outcome=report.outcome,
            summary=report.summary,
            result=report.result,
            retry_for=retry_for,
        )
        self._is_report_sent = True

    def _on_data(self, packet: rtc.DataPacket) -> None:
        seconds = announced_seconds(packet)
        if seconds is not None:
            self._countdown.lower(seconds)

    def _start(self, work: Any) -> None:
        """Run work until the block is left. What it raises is logged: nobody awaits it."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        task.add_done_callback(_log_exception)
        self._tasks.append(task)


def _log_exception(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("a handler of the interview raised", exc_info=error)

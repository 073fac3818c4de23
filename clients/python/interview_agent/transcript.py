"""Sends the transcript in the background, while the conversation goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from interview_agent.client import MAX_LINES, InterviewClient, TranscriptLine
from interview_agent.errors import InvalidRequest, ServiceError, ServiceUnavailable

logger = logging.getLogger("interview_agent")

COLLECT_FOR = 0.5  # seconds, so that lines which come together are sent together


class TranscriptSender:
    """Keeps lines until the service has them. They are sent in the order in which they were added."""

    def __init__(self, client: InterviewClient, *, interview_id: str, room_name: str, agent: str) -> None:
        self._client = client
        self._interview_id = interview_id
        self._room_name = room_name
        self._agent = agent
        self._unsent: list[TranscriptLine] = []
        self._added = asyncio.Event()
        self._sending = asyncio.Lock()
        self.refused: ServiceError | None = None  # the service takes no lines any more

    def add(self, line: TranscriptLine) -> None:
        self._unsent.append(line)
        self._added.set()

    async def run(self) -> None:
        """Send lines until cancelled."""
        while True:
            await self._added.wait()
            await asyncio.sleep(COLLECT_FOR)
            self._added.clear()
            try:
                await self.flush()
            except ServiceUnavailable as error:
                logger.warning("%s; %d lines wait", error, len(self._unsent))
                self._added.set()

    async def flush(self, *, retry_for: float | None = None) -> None:
        """Send all lines. Raises ServiceUnavailable; the lines are kept then.

        Refused lines are dropped and logged, after a refusal of the interview, for example an erased one, all further
        lines too.
        """
        async with self._sending:
            while self._unsent:
                batch = self._unsent[:MAX_LINES]
                refusal = self.refused or await self._send(batch, retry_for)
                if refusal:
                    logger.error("%d lines were not stored: %d %s", len(batch), refusal.status, refusal.code)
                    self.refused = None if isinstance(refusal, InvalidRequest) else refusal
                del self._unsent[: len(batch)]

    async def _send(self, batch: Sequence[TranscriptLine], retry_for: float | None) -> ServiceError | None:
        """Return the service's refusal, if there is one. Raises ServiceUnavailable."""
        try:
            await self._client.append_transcript(
                self._interview_id, room_name=self._room_name, agent=self._agent, lines=batch, retry_for=retry_for
            )
        except ServiceError as error:
            return error
        return None

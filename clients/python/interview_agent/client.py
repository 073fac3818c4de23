"""The service's calls for agents, over HTTP. Needs no LiveKit."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import quote

import httpx

from interview_agent.errors import BY_STATUS, ServiceError, ServiceUnavailable

logger = logging.getLogger("interview_agent")

RETRY_FOR = 120.0  # seconds
TIMEOUT = httpx.Timeout(10.0, connect=5.0)
FIRST_DELAY = 0.5  # seconds, doubled with each retry
MAX_DELAY = 15.0
MAX_LINES = 200  # that the service takes at once
MAX_TEXT = 4_000  # characters of one line

Speaker = Literal["agent", "candidate"]
FinalOutcome = Literal["completed", "failed"]


@dataclass(frozen=True)
class Context:
    """`value` is the JSON that the platform scheduled the interview with, which the candidate cannot read."""

    value: Any
    seconds_left: float | None = None  # until maxDuration, None before the start


@dataclass(frozen=True)
class Checkpoint:
    """The place that an agent of this attempt had reached. `state` is its own JSON."""

    agent: str  # the LiveKit identity of the agent that wrote it
    sequence: int
    state: Any


@dataclass(frozen=True)
class TranscriptLine:
    """What somebody said. `id` is unique among the lines of one agent in one attempt; `at` is when it was said."""

    id: str
    speaker: Speaker
    text: str
    at: datetime

    def to_json(self) -> dict[str, str]:
        at = self.at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
        return {"id": self.id, "speaker": self.speaker, "text": self.text, "at": at}


class InterviewClient:
    """Calls the service. Make one for each process, and share it: opening one takes up to half a second.

    Every call repeats itself for `retry_for` seconds after a lost connection, 429 or 5xx, as Retry-After says or with
    growing delays. That is safe: the service stores a repeated call once. Raises ServiceUnavailable after that, and a
    ServiceError with its `code` for any other answer that is no success.
    """

    def __init__(self, service: str, key: str, *, retry_for: float = RETRY_FOR) -> None:
        self._retry_for = retry_for
        self._http = httpx.AsyncClient(
            base_url=service.rstrip("/"), headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT
        )

    async def __aenter__(self) -> InterviewClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def context(self, interview_id: str, *, retry_for: float | None = None) -> Context:
        """Return what the platform sent for the agent."""
        fields = await self._call("GET", interview_id, "context", retry_for=retry_for)
        return Context(fields["context"], fields.get("secondsLeft"))

    async def checkpoint(self, interview_id: str, *, retry_for: float | None = None) -> Checkpoint | None:
        """Return the last checkpoint of the attempt that is open now, or None."""
        try:
            fields = await self._call("GET", interview_id, "checkpoint", retry_for=retry_for)
        except ServiceError as error:
            if error.code == "no_checkpoint":
                return None
            raise
        return Checkpoint(fields["agent"], fields["sequence"], fields["state"])

    async def save_checkpoint(
        self, interview_id: str, *, room_name: str, checkpoint: Checkpoint, retry_for: float | None = None
    ) -> None:
        """Store the place that the agent has reached. Raises Conflict once another agent has written."""
        body = {
            "roomName": room_name,
            "agent": checkpoint.agent,
            "sequence": checkpoint.sequence,
            "state": checkpoint.state,
        }
        await self._call("PUT", interview_id, "checkpoint", body, retry_for=retry_for)

    async def append_transcript(
        self,
        interview_id: str,
        *,
        room_name: str,
        agent: str,
        lines: Sequence[TranscriptLine],
        retry_for: float | None = None,
    ) -> None:
        """Append lines. Lines that the service has already are skipped, by agent and id."""
        for start in range(0, len(lines), MAX_LINES):
            batch = [line.to_json() for line in lines[start : start + MAX_LINES]]
            body = {"roomName": room_name, "agent": agent, "lines": batch}
            await self._call("POST", interview_id, "transcript", body, retry_for=retry_for)

    async def complete(
        self,
        interview_id: str,
        *,
        room_name: str,
        outcome: FinalOutcome = "completed",
        summary: str | None = None,
        result: Any = None,
        retry_for: float | None = None,
    ) -> None:
        """Report the outcome. The last report's summary and result count. Raises Conflict before the start."""
        body = {"roomName": room_name, "outcome": outcome, "summary": summary, "result": result}
        await self._call("POST", interview_id, "complete", body, retry_for=retry_for)

    async def _call(
        self, method: str, interview_id: str, name: str, body: Any = None, *, retry_for: float | None = None
    ) -> dict[str, Any]:
        path = f"/interviews/{quote(interview_id, safe='')}/{name}"
        give_up_at = time.monotonic() + (self._retry_for if retry_for is None else retry_for)
        tries = 0
        while True:
            tries += 1
            try:
                response = await self._http.request(method, path, json=body)
            except httpx.TransportError as error:
                failure, delay = type(error).__name__, None
            else:
                if not _is_transient(response):
                    return _fields(response)
                failure, delay = f"HTTP {response.status_code}", _retry_after(response)
            wait = _backoff(tries) if delay is None else delay + random.uniform(0, FIRST_DELAY)  # noqa: S311 - jitter is no secret
            if time.monotonic() + wait > give_up_at:
                raise ServiceUnavailable(f"{method} {path}: {failure} after {tries} tries")
            logger.warning("%s %s: %s; next try in %.1f s", method, path, failure, wait)
            await asyncio.sleep(wait)


def _is_transient(response: httpx.Response) -> bool:
    return response.status_code == 429 or response.status_code >= 500


def _backoff(tries: int) -> float:
    """Return a delay with jitter, so that agents which failed together do not come back together."""
    longest = min(FIRST_DELAY * 2.0 ** (tries - 1), MAX_DELAY)
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter is no secret


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds of Retry-After, which is a number or a date, None without a readable one."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return max((at - datetime.now(timezone.utc)).total_seconds(), 0.0)


def _fields(response: httpx.Response) -> dict[str, Any]:
    """Return the object of a success, empty for 204. Raises ServiceError."""
    if response.status_code == 204:
        return {}
    try:
        fields = response.json()
    except ValueError:
        fields = None
    if response.is_success and isinstance(fields, dict):
        return fields
    problem = fields if isinstance(fields, dict) else {}
    # a proxy or a wrong address answers with a page, not with a problem of the service
    detail = problem.get("detail") or "The answer is not this service's. Check the service's address."
    kind = BY_STATUS.get(response.status_code, ServiceError)
    raise kind(
        response.status_code,
        str(problem.get("code") or "unknown"),
        str(detail),
        problem.get("requestId") or response.headers.get("X-Request-Id"),
    )

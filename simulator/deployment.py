"""The client of the deployment under test: it calls the API as the platform, candidates, agents and LiveKit do."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import jwt

from simulator.events import Event, Json, sign
from simulator.history import History
from simulator.options import Options

TRANSIENT = (429, 500, 502, 503, 504)
RETRY_DELAY = 1.0  # seconds


class Rejected(Exception):
    """The deployment rejected a request, and a retry would not help."""

    def __init__(self, call: str, status: int, body: str) -> None:
        self.status = status
        super().__init__(f"{call}: {status} {body[:300]}")


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The room, identity and metadata in the token of a join."""

    room_name: str
    identity: str
    metadata: str


@dataclass(slots=True)
class DeploymentClient:
    session: aiohttp.ClientSession
    options: Options

    async def schedule(self, history: History, closes_at: datetime | None) -> str:
        """Create the interview and return its id."""
        body: Json = {
            "candidateId": f"candidate-{history.name}",
            "applicationId": f"application-{history.name}",
            "jobPostId": f"simulation-{history.scenario}",
            "jobTitle": "Simulated Candidate",
            "phoneNumber": f"9665{int(history.name) % 100_000_000:08}" if history.name.isdigit() else "966509876543",
            "maxDuration": history.max_duration,
        }
        if closes_at:
            body["closesAt"] = closes_at.isoformat()
        created = await self._call("POST", "/interviews", body, {"Idempotency-Key": str(uuid.uuid4())})
        return str(created["interviewId"])

    async def join(self, interview_id: str) -> JoinResult:
        joined = await self._call("POST", f"/interviews/{interview_id}/join", {})
        # not verified: only LiveKit has to trust it, and reads these claims
        claims = jwt.decode(joined["participantToken"], options={"verify_signature": False})
        return JoinResult(claims["video"]["room"], claims["sub"], claims.get("metadata", ""))

    async def cancel(self, interview_id: str) -> None:
        await self._call("POST", f"/interviews/{interview_id}/cancel", {})

    async def complete(self, interview_id: str, room_name: str, outcome: str) -> None:
        """Report an outcome as an agent does, with retries on 409: the deployment may not know yet that it started."""
        body = {"roomName": room_name, "outcome": outcome, "summary": "simulated", "result": {}}
        await self._call("POST", f"/interviews/{interview_id}/complete", body, retry_on=(409,))

    async def read(self, interview_id: str) -> Json:
        return await self._call("GET", f"/interviews/{interview_id}")

    async def _call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
        *,
        retry_on: tuple[int, ...] = (),
    ) -> Json:
        """Call, and retry transient errors. Raises Rejected, and TimeoutError after `patience` seconds."""
        headers = {"Authorization": f"Bearer {self.options.key}"} | (headers or {})
        url, deadline = self.options.url + path, time.monotonic() + self.options.patience
        while True:
            status, response, text = await self._try(method, url, body, headers)
            if status is not None and status < 300:
                return response
            if status is not None and status not in TRANSIENT + retry_on:
                raise Rejected(f"{method} {path}", status, text)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}: {status or 'no connection'} {text[:300]}")
            await asyncio.sleep(RETRY_DELAY)

    async def _try(
        self, method: str, url: str, body: Json | None, headers: dict[str, str]
    ) -> tuple[int | None, Json, str]:
        """Return status, JSON and text of one attempt; the status is None if there was no response."""
        try:
            async with self.session.request(method, url, json=body, headers=headers) as response:
                text = await response.text()
                return response.status, await response.json() if response.status < 300 else {}, text
        except (aiohttp.ClientError, TimeoutError) as error:
            return None, {}, repr(error)

    async def webhook(self, event: Event) -> int | None:
        """Send an event once. Return the status, or None if there was no response."""
        raw, options = event.raw, self.options
        signature = sign(raw, key=options.livekit_key, secret=options.livekit_secret, now=time.time())
        headers = {"Authorization": signature, "Content-Type": "application/webhook+json"}
        url = f"{options.url}/webhooks/livekit"
        try:
            async with self.session.post(url, data=raw, headers=headers, allow_redirects=False) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None


def parse_instant(text: str | None) -> int | None:
    """Return an instant of an API response in milliseconds since 1970."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def datetime_of(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)

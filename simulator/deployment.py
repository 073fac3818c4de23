"""The deployment under test, by its HTTP API: as its platform, its candidates, its agents and LiveKit see it."""

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

PASSING = (429, 500, 502, 503, 504)
AGAIN = 1.0  # seconds between two tries of a call


class Refused(Exception):
    """The deployment said no, and would again."""

    def __init__(self, call: str, status: int, answer: str) -> None:
        self.status = status
        super().__init__(f"{call}: {status} {answer[:300]}")


@dataclass(frozen=True, slots=True)
class Seat:
    """What a join gives: where the candidate is expected, and as whom."""

    room_name: str
    identity: str
    metadata: str


@dataclass(slots=True)
class Deployment:
    session: aiohttp.ClientSession
    options: Options

    async def schedule(self, history: History, closes_at: datetime | None) -> str:
        """Make the interview; the answer is its id."""
        body: Json = {
            "candidateId": f"candidate-{history.name}",
            "applicationId": f"application-{history.name}",
            "jobPostId": f"simulation-{history.kind}",
            "jobTitle": "Simulated Candidate",
            "phoneNumber": f"9665{int(history.name) % 100_000_000:08}" if history.name.isdigit() else "966509876543",
            "maxDuration": history.max_duration,
        }
        if closes_at:
            body["closesAt"] = closes_at.isoformat()
        made = await self._call("POST", "/interviews", body, {"Idempotency-Key": str(uuid.uuid4())})
        return str(made["interviewId"])

    async def join(self, interview_id: str) -> Seat:
        seat = await self._call("POST", f"/interviews/{interview_id}/join", {})
        # the deployment's own token: it is read for what LiveKit would read in it, and trusted as far as that
        claims = jwt.decode(seat["participantToken"], options={"verify_signature": False})
        return Seat(claims["video"]["room"], claims["sub"], claims.get("metadata", ""))

    async def cancel(self, interview_id: str) -> None:
        await self._call("POST", f"/interviews/{interview_id}/cancel", {})

    async def complete(self, interview_id: str, room_name: str, outcome: str) -> None:
        """Report an outcome as an agent should: again, if the deployment has not yet heard of the start (409)."""
        body = {"roomName": room_name, "outcome": outcome, "summary": "simulated", "result": {}}
        await self._call("POST", f"/interviews/{interview_id}/complete", body, also=(409,))

    async def read(self, interview_id: str) -> Json:
        return await self._call("GET", f"/interviews/{interview_id}")

    async def _call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
        *,
        also: tuple[int, ...] = (),
    ) -> Json:
        """Call until there is an answer that lasts. Raises Refused; TimeoutError after `patience` seconds."""
        headers = {"Authorization": f"Bearer {self.options.key}"} | (headers or {})
        url, until = self.options.url + path, time.monotonic() + self.options.patience
        while True:
            status, answer, text = await self._try(method, url, body, headers)
            if status is not None and status < 300:
                return answer
            if status is not None and status not in PASSING + also:
                raise Refused(f"{method} {path}", status, text)
            if time.monotonic() > until:
                raise TimeoutError(f"{method} {path}: {status or 'no connection'} {text[:300]}")
            await asyncio.sleep(AGAIN)

    async def _try(
        self, method: str, url: str, body: Json | None, headers: dict[str, str]
    ) -> tuple[int | None, Json, str]:
        """Status, JSON and text of one try; no status if there was no answer at all."""
        try:
            async with self.session.request(method, url, json=body, headers=headers) as response:
                text = await response.text()
                return response.status, await response.json() if response.status < 300 else {}, text
        except (aiohttp.ClientError, TimeoutError) as error:
            return None, {}, repr(error)

    async def webhook(self, event: Event) -> int | None:
        """Deliver an event once; the status of the answer, None if there was none."""
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


def instant(text: str | None) -> int | None:
    """Milliseconds since 1970 of an instant in the API's answers."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)


def moment(millis: int) -> datetime:
    return datetime.fromtimestamp(millis / 1000, UTC)

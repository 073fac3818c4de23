"""HTTP calls of a platform, a candidate and LiveKit, for the tests of the API."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt

from tests import livekit_webhooks
from tests.conftest import AUTHORIZED, LIVEKIT_SECRET

NEW: dict[str, Any] = {
    "candidateId": "c",
    "applicationId": "a",
    "jobPostId": "j",
    "jobTitle": "Developer",
    "phoneNumber": "966509876543",
}
CANDIDATE = "candidate-c"
AGENT = "agent-AJ_1"


async def scheduled(client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    """Schedule an interview; return it."""
    answer = await client.post("/interviews", headers=AUTHORIZED, json=NEW | changed)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def read(client: httpx.AsyncClient, interview: dict[str, Any]) -> dict[str, Any]:
    """Return the interview."""
    answer = await client.get(f"/interviews/{interview['interviewId']}", headers=AUTHORIZED)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def join(client: httpx.AsyncClient, interview: dict[str, Any]) -> httpx.Response:
    return await client.post(f"/interviews/{interview['interviewId']}/join")


async def deliver(client: httpx.AsyncClient, event: Any) -> httpx.Response:
    """Deliver a signed webhook."""
    body = livekit_webhooks.encode(event)
    return await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))


def claims_of(token: str) -> dict[str, Any]:
    """Verify an access token; return all its claims."""
    claims: dict[str, Any] = jwt.decode(token, LIVEKIT_SECRET, algorithms=["HS256"])
    return claims


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the fields that every problem document has; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["code"] == code
    assert found["title"]
    assert found["detail"].endswith(".")
    assert found["requestId"] == answer.headers["X-Request-Id"]
    return found


def instant(text: str) -> datetime:
    """Return an instant of a response, which must be in UTC."""
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text)


@dataclass
class Room:
    """LiveKit's side of an interview's room, which sends webhooks. Seconds are relative to the start."""

    client: httpx.AsyncClient
    interview: dict[str, Any]
    sid: str = "RM_1"

    def __post_init__(self) -> None:
        self.start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60)

    def at(self, second: float) -> datetime:
        return self.start + timedelta(seconds=second)

    def event(self, name: str, second: float, who: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Return an event of this room."""
        return livekit_webhooks.event(
            name,
            room=self.interview["roomName"],
            room_sid=self.sid,
            room_created_at=self.start,
            at=self.at(second),
            participant=who,
            **more,
        )

    def who(self, sid: str, identity: str, joined: float = 0, **more: Any) -> dict[str, Any]:
        """Return a participant, an agent if its identity begins with agent-."""
        kind = more.pop("kind", "AGENT" if identity.startswith("agent-") else "STANDARD")
        return livekit_webhooks.participant(sid, identity, joined_at=self.at(joined), kind=kind, **more)

    async def tell(self, name: str, second: float, who: dict[str, Any] | None = None, **more: Any) -> str:
        """Deliver an event of this room; return its result."""
        answer = await deliver(self.client, self.event(name, second, who, **more))
        assert answer.status_code == 200, answer.text
        result: str = answer.json()["result"]
        return result

    async def joined(self, sid: str, identity: str, second: float = 0, **more: Any) -> str:
        return await self.tell("participant_joined", second, self.who(sid, identity, second, **more))

    async def left(self, sid: str, identity: str, second: float, **more: Any) -> str:
        joined = more.pop("joined", 0)
        who = self.who(sid, identity, joined, **({"reason": "CLIENT_INITIATED"} | more))
        return await self.tell("participant_left", second, who)

    async def talk_and_end(self) -> None:
        """Candidate and agent talk, and the agent ends it."""
        agent = f"{self.sid}_PA_a"
        await self.joined(f"{self.sid}_PA_c", f"candidate-{self.interview['candidateId']}")
        await self.joined(agent, AGENT, 1)
        await self.left(agent, AGENT, 10, joined=1)

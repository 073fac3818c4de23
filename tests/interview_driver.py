"""Drives interviews over HTTP as recruiter, candidate, agent and LiveKit, with a clock that the test sets."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from tests import livekit_webhooks
from tests.calls import AGENT as AGENT
from tests.calls import CANDIDATE as CANDIDATE
from tests.calls import NEW as NEW
from tests.conftest import AUTHORIZED


@dataclass
class InterviewDriver:
    app: FastAPI
    client: httpx.AsyncClient
    passed: timedelta = timedelta()
    """How far the test has moved the clock."""

    def __post_init__(self) -> None:
        self.app.state.services = replace(self.app.state.services, clock=lambda: self.now)
        self._stopped_at = datetime.now(UTC)

    @property
    def now(self) -> datetime:
        return self._stopped_at + self.passed

    def later(self, seconds: float) -> None:
        self.passed += timedelta(seconds=seconds)

    async def new(self, **more: Any) -> dict[str, Any]:
        answer = await self.client.post("/interviews", headers=AUTHORIZED, json=NEW | more)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def get(self, interview: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.get(f"/interviews/{interview['interviewId']}", headers=AUTHORIZED)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def call(self, interview: dict[str, Any], name: str, **more: Any) -> httpx.Response:
        path = f"/interviews/{interview['interviewId']}/{name}"
        return await self.client.post(path, **{"headers": AUTHORIZED, **more})

    async def join(self, interview: dict[str, Any]) -> httpx.Response:
        return await self.client.post(f"/interviews/{interview['interviewId']}/join")

    async def complete(self, interview: dict[str, Any], outcome: str = "completed", **more: Any) -> httpx.Response:
        report = {"roomName": interview["roomName"], "outcome": outcome} | more
        return await self.call(interview, "complete", json=report)

    async def hears(self, interview: dict[str, Any], name: str, **more: Any) -> None:
        fields: dict[str, Any] = {"room_sid": f"RM_{interview['attempt']}", "at": self.now} | more
        body = livekit_webhooks.encode(livekit_webhooks.event(name, room=interview["roomName"], **fields))
        answer = await self.client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
        assert answer.status_code == 200, answer.text

    async def comes(self, interview: dict[str, Any], identity: str = CANDIDATE) -> None:
        await self.hears(interview, "participant_joined", participant=self._who(interview, identity))

    async def goes(
        self, interview: dict[str, Any], identity: str = CANDIDATE, reason: str = "CLIENT_INITIATED", outcome: str = ""
    ) -> None:
        who = self._who(interview, identity, reason, {"interview.outcome": outcome} if outcome else {})
        await self.hears(interview, "participant_left", participant=who)

    async def talk(self, interview: dict[str, Any]) -> None:
        await self.comes(interview)
        await self.comes(interview, AGENT)

    async def fails(self, interview: dict[str, Any]) -> None:
        """The conversation starts and the agent reports that it failed."""
        await self.talk(interview)
        self.later(2)
        assert (await self.complete(interview, "failed")).json()["status"] == "FAILED"

    def _who(
        self,
        interview: dict[str, Any],
        identity: str,
        reason: str = "",
        attributes: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        sid = f"PA_{identity}_{interview['attempt']}"
        kind = "AGENT" if identity == AGENT else "STANDARD"
        joined_at = self.now - timedelta(seconds=1 if reason else 0)
        return livekit_webhooks.participant(
            sid, identity, joined_at=joined_at, kind=kind, reason=reason, attributes=attributes
        )


@dataclass
class RealTime(InterviewDriver):
    """A driver with the real clock, which the timeline uses."""

    def __post_init__(self) -> None:
        """Keep the app's clock."""

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

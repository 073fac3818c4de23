"""An interview on a running stack: its participants, and the recruiter's view of it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.agent import Agent, AgentProcess
from tests.e2e.candidate import Candidate, CandidateProcess
from tests.e2e.clients import Join
from tests.e2e.conditions import HOPELESS, eventually
from tests.e2e.platform import Platform
from tests.e2e.stack import Stack


@dataclass
class Interview:
    """A scheduled interview, its participants, and the recruiter's view of it."""

    id: str
    stack: Stack
    platform: Platform
    enter: Join
    logs: Path
    clients: int = 0

    def room(self, attempt: int = 1) -> str:
        return f"interview-{self.id}" if attempt == 1 else f"interview-{self.id}-{attempt}"

    async def candidate(self, *, microphone: bool = True) -> Candidate:
        """Join as the candidate's frontend does: request a joinResponse, connect with it."""
        return await self.enter(await self.unconnected_candidate(microphone=microphone))

    async def unconnected_candidate(self, *, microphone: bool = True) -> Candidate:
        """Request a joinResponse, and return a candidate that has not connected with it."""
        answer = await self.platform.join(self.id)
        return Candidate(answer["serverUrl"], answer["participantToken"], microphone=microphone)

    async def candidate_process(self) -> CandidateProcess:
        answer = await self.platform.join(self.id)
        return await self.enter(CandidateProcess(answer["serverUrl"], answer["participantToken"], log=self._log()))

    async def agent(self, outcome: str = "", *, attempt: int = 1) -> Agent:
        """Join an agent, which announces the outcome unless it is empty."""
        agent = Agent(self.stack.livekit, self.room(attempt), departure_timeout=self._departure_timeout)
        await self.enter(agent)
        if outcome:
            await agent.announce(outcome)
        return agent

    async def agent_process(self, outcome: str = "") -> AgentProcess:
        agent = AgentProcess(
            self.stack.livekit,
            self.room(),
            log=self._log(),
            outcome=outcome,
            departure_timeout=self._departure_timeout,
        )
        return await self.enter(agent)

    async def becomes(self, status: str, end_reason: str | None = None, *, within: float = HOPELESS) -> dict[str, Any]:
        """Wait for that status; return the interview."""

        async def reached() -> dict[str, Any]:
            found = await self.platform.read(self.id)
            shown = (found["status"], found["endReason"])
            assert shown == (status, end_reason), f"{shown}, not {status} / {end_reason}"
            return found

        try:
            return await eventually(reached, within=within)
        except AssertionError as error:
            error.add_note("\n".join(await self.story()))
            raise

    async def story(self) -> list[str]:
        """Return the texts of the timeline."""
        return [f"{each['at']} #{each['attempt']} {each['text']}" for each in await self.platform.timeline(self.id)]

    async def path(self, attempt: int = 1) -> list[str]:
        """Return the statuses of the attempt in order, from the timeline."""
        lines = await self.lines("status")
        return [
            line["detail"]["to"] for line in lines if line["attempt"] == attempt and line["name"] != "attempt_opened"
        ]

    async def shows(self, kind: str, name: str, *, within: float = HOPELESS) -> list[dict[str, Any]]:
        """Wait until the timeline has such entries; return them."""
        return await eventually(partial(self.lines, kind, name), within=within)

    async def lines(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """Return the timeline's entries of a kind."""
        entries = await self.platform.timeline(self.id)
        return [each for each in entries if each["kind"] == kind and name in (None, each["name"])]

    @property
    def _departure_timeout(self) -> int:
        """The departure timeout of an agent's token, as the README describes; LiveKit's default is 20 s."""
        return int(self.stack.service.env.get("CANDIDATE_GRACE", 120)) + 5

    def _log(self) -> Path:
        self.clients += 1
        return self.logs / f"{self.id}-{self.clients}.log"


class Schedule(Protocol):
    """The type of the fixture `schedule`, with the fields of POST /interviews."""

    async def __call__(self, **texts: object) -> Interview: ...

"""Interviews, the LiveKit they happen in, and the worker's context: what every test of the worker starts from.

Instants are given in seconds before now, because the worker reads the real clock.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.interviews.actions import Completion, cancel, complete, reopen
from app.interviews.erasure import erase_owned
from app.interviews.schedule import InterviewSpec, ensure_default_organization, schedule
from app.interviews.status_update import lock_interview
from app.interviews.stored_facts import TOKEN_ISSUED
from app.lifecycle import Outcome, Timeouts
from app.livekit import client
from app.livekit.access_tokens import Signer
from app.livekit.client import LiveKitServer
from app.livekit.rooms import room_name as name_of_room
from app.models import Connection, Interview, JoinRequest, TimelineEntry
from app.worker import WorkerContext
from app.worker.deadlines import claim, process_due_interview
from tests import livekit_webhooks
from tests.conftest import PATIENT
from tests.worker.livekit_stub import LiveKitStub

SIGNER = Signer("key", "secret-of-32-characters-or-more-0123", "", timedelta(seconds=120))
AGENT = "agent-AJ_1"
CANDIDATE = "candidate-c"
WITHOUT_DISPATCH = Timeouts(dispatch_after=None)
HOT_LOOP = 8  # runs in a row after which a row that is still due is a hot loop


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@dataclass
class World:
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    stub: LiveKitStub
    livekit: LiveKitServer
    timeouts: Timeouts = WITHOUT_DISPATCH
    agent_name: str = ""
    signer: Signer = field(default=SIGNER)

    @property
    def context(self) -> WorkerContext:
        return WorkerContext(self.sessions, self.livekit, self.timeouts, self.agent_name, timedelta(seconds=30))

    def livekit_is(self, fault: str, *, method: str = "*") -> None:
        """Make LiveKit fail this way from now on. Only a slow one gets a short timeout."""
        self.stub.faults[method] = fault
        client.TIMEOUT = 0.6 if fault == "slow" else PATIENT

    def livekit_is_well(self) -> None:
        self.stub.faults.clear()
        client.TIMEOUT = PATIENT

    def dispatching(self) -> None:
        self.timeouts, self.agent_name = Timeouts(), "interviewer"

    async def new(self, *, since: float = 100_000, **plan: Any) -> uuid.UUID:
        given: dict[str, Any] = {
            "candidate_id": "c",
            "application_id": "a",
            "job_post_id": "j",
            "job_title": "Developer",
            "phone_number": "966509876543",
        }
        async with self.sessions.begin() as session:
            organization_id = await ensure_default_organization(session)
            (interview,) = await schedule(
                session,
                organization_id=organization_id,
                specs=[InterviewSpec(**given | plan)],
                now=ago(since),
                signer=self.signer,
            )
            return interview.id

    async def hears(self, interview_id: uuid.UUID, name: str, at: datetime, *, attempt: int = 1, **more: Any) -> None:
        """Record a webhook at the instant at which LiveKit sent it."""
        event = livekit_webhooks.event(name, room=name_of_room(interview_id, attempt), at=at, **more)
        await livekit_webhooks.deliver(self.sessions, event, at=at, timeouts=self.timeouts, agent_name=self.agent_name)

    async def joins(
        self,
        interview_id: uuid.UUID,
        identity: str = CANDIDATE,
        *,
        before: float,
        sid: str = "",
        room_sid: str = "RM_1",
        webhook: bool = True,
        there: bool = True,
        attempt: int = 1,
    ) -> str:
        """Somebody joins: LiveKit tells it if `webhook`, and shows it when asked if `there`."""
        sid, at = sid or _sid(identity, attempt), ago(before)
        room = name_of_room(interview_id, attempt)
        if there:
            self.stub.join(room, identity, sid=sid, joined_at=at, room_sid=room_sid)
        if webhook:
            who = self._who(sid, identity, at)
            await self.hears(
                interview_id,
                "participant_joined",
                at,
                attempt=attempt,
                participant=who,
                room_sid=room_sid,
                room_created_at=at,
            )
        return sid

    async def leaves(
        self,
        interview_id: uuid.UUID,
        identity: str = CANDIDATE,
        *,
        before: float,
        joined_before: float,
        sid: str = "",
        reason: str = "CLIENT_INITIATED",
        outcome: str = "",
        webhook: bool = True,
        room_sid: str = "RM_1",
        attempt: int = 1,
    ) -> None:
        sid = sid or _sid(identity, attempt)
        room = name_of_room(interview_id, attempt)
        if room in self.stub.rooms:
            self.stub.leave(room, sid)
        if webhook:
            who = self._who(sid, identity, ago(joined_before), reason, outcome)
            await self.hears(
                interview_id, "participant_left", ago(before), attempt=attempt, participant=who, room_sid=room_sid
            )

    def _who(self, sid: str, identity: str, at: datetime, reason: str = "", outcome: str = "") -> dict[str, Any]:
        kind = "AGENT" if identity.startswith("agent-") else "STANDARD"
        attributes = {"interview.outcome": outcome} if outcome else {}
        return livekit_webhooks.participant(
            sid, identity, joined_at=at, kind=kind, reason=reason, attributes=attributes
        )

    async def talks(self, interview_id: uuid.UUID, *, before: float, attempt: int = 1, **more: Any) -> None:
        """Candidate and agent joined so many seconds ago, and are there."""
        await self.joins(interview_id, CANDIDATE, before=before, attempt=attempt, **more)
        await self.joins(interview_id, AGENT, before=before, attempt=attempt, **more)

    async def gets_token(self, interview_id: uuid.UUID, *, before: float, attempt: int = 1) -> None:
        async with self.sessions.begin() as session:
            await session.execute(
                insert(JoinRequest).values(
                    interview_id=interview_id, attempt=attempt, at=ago(before), answer=TOKEN_ISSUED
                )
            )

    async def cancels(self, interview_id: uuid.UUID, *, before: float = 0) -> None:
        async with self.sessions.begin() as session:
            interview = await _locked(session, interview_id)
            await cancel(session, interview=interview, now=ago(before), timeouts=self.timeouts)

    async def reopens(self, interview_id: uuid.UUID) -> None:
        async with self.sessions.begin() as session:
            interview = await _locked(session, interview_id)
            await reopen(session, interview=interview, closes_at=None, now=ago(0), timeouts=self.timeouts)

    async def erases(self, interview_id: uuid.UUID) -> None:
        async with self.sessions.begin() as session:
            owner = await ensure_default_organization(session)
            await erase_owned(session, organization_id=owner, interview_id=interview_id, now=ago(0))

    async def reports(self, interview_id: uuid.UUID, outcome: Outcome, *, before: float = 0) -> None:
        async with self.sessions.begin() as session:
            interview = await _locked(session, interview_id)
            report = Completion(interview.room_name, outcome, None, None)
            await complete(session, interview=interview, report=report, now=ago(before), timeouts=self.timeouts)

    async def alter(self, interview_id: uuid.UUID, **values: Any) -> None:
        """Write to the row what no use-case would."""
        async with self.sessions.begin() as session:
            await session.execute(update(Interview).where(Interview.id == interview_id).values(**values))

    async def row(self, interview_id: uuid.UUID) -> Interview:
        async with self.sessions() as session:
            return await session.get_one(Interview, interview_id)

    async def connection(self, interview_id: uuid.UUID, sid: str) -> Connection:
        async with self.sessions() as session:
            return await session.get_one(Connection, (interview_id, sid))

    async def entries(self, interview_id: uuid.UUID, kind: str | None = None) -> Sequence[TimelineEntry]:
        query = select(TimelineEntry).where(TimelineEntry.interview_id == interview_id).order_by(TimelineEntry.id)
        async with self.sessions() as session:
            found = (await session.scalars(query)).all()
        return [entry for entry in found if kind in (None, entry.kind)]

    async def names(self, interview_id: uuid.UUID, kind: str) -> list[str]:
        return [entry.name for entry in await self.entries(interview_id, kind)]

    async def process(self, interview_id: uuid.UUID) -> Interview:
        await process_due_interview(self.context, interview_id)
        return await self.row(interview_id)

    async def process_all_due(self) -> int:
        """Attend to all that is due, as a worker does, and return how often; many times in a row is a hot loop."""
        for count in range(HOT_LOOP):
            interview_id = await claim(self.context, now=ago(0))
            if interview_id is None:
                return count
            await process_due_interview(self.context, interview_id)
        raise AssertionError("a hot loop: something is due again and again")

    async def is_due(self, interview_id: uuid.UUID) -> bool:
        row, now = await self.row(interview_id), ago(0)
        leased = row.leased_until is not None and row.leased_until > now
        return row.next_deadline_at is not None and row.next_deadline_at <= now and not leased


def _sid(identity: str, attempt: int) -> str:
    return f"PA_{identity}" if attempt == 1 else f"PA_{identity}_{attempt}"


async def _locked(session: AsyncSession, interview_id: uuid.UUID) -> Interview:
    interview = await lock_interview(session, interview_id)
    assert interview
    return interview

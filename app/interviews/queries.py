"""Read interviews, with what the API shows beside the row."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver_connection
from app.core.errors import InterviewErased, InterviewNotFound
from app.interviews.interview_rows import time_left
from app.interviews.stored_facts import load_facts
from app.lifecycle import Facts, ParticipantSession, PublicStatus, participant_sessions, public_status
from app.models import Interview, JoinRequest, Report


@dataclass(frozen=True, slots=True)
class View:
    """An interview as the API shows it at an instant."""

    interview: Interview
    status: PublicStatus
    talk_time: timedelta
    join_attempts: int
    connected: Sequence[ParticipantSession]
    """The sessions in the current attempt's room, in the order of joining."""


async def find_interview(session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID) -> Interview:
    """Return the row of the organization's interview. Raises InterviewNotFound, also for another organization's."""
    interview = await session.scalar(
        select(Interview).where(Interview.id == interview_id, Interview.organization_id == organization_id)
    )
    if interview is None:
        raise InterviewNotFound
    return interview


async def find_readable(session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID) -> Interview:
    """Return the organization's interview, whose personal data is there. Raises InterviewNotFound, InterviewErased."""
    interview = await find_interview(session, organization_id=organization_id, interview_id=interview_id)
    if interview.personal_data_erased_at:
        raise InterviewErased
    return interview


async def get_interview(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID, now: datetime
) -> View:
    """Return the organization's interview as of `now`. Raises InterviewNotFound, also for another organization's."""
    interview = await find_interview(session, organization_id=organization_id, interview_id=interview_id)
    return (await views_of(session, interviews=[interview], now=now))[0]


@dataclass(frozen=True, slots=True)
class AgentContext:
    """The interview's private context, None if it has none, and the time until it ends, None before the start."""

    value: Any
    time_left: timedelta | None


async def read_context(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID, now: datetime
) -> AgentContext:
    """Return what only the interview's agent gets. Raises InterviewNotFound."""
    interview = await find_interview(session, organization_id=organization_id, interview_id=interview_id)
    await session.refresh(interview, ["context"])
    return AgentContext(interview.context, time_left(interview, now))


async def last_report(session: AsyncSession, *, interview: Interview) -> Report | None:
    """Return the agent's last report on the current attempt."""
    return await session.scalar(
        select(Report)
        .where(Report.interview_id == interview.id, Report.attempt == interview.attempt)
        .order_by(Report.last_said_at.desc())
        .limit(1)
    )


async def views_of(session: AsyncSession, *, interviews: Sequence[Interview], now: datetime) -> list[View]:
    facts = await load_facts(await driver_connection(session), interviews)
    joins = select(JoinRequest.interview_id, func.count()).group_by(JoinRequest.interview_id)
    joins = joins.where(JoinRequest.interview_id.in_([interview.id for interview in interviews]))
    counts = dict((await session.execute(joins)).all())
    return [
        View(
            interview=interview,
            status=public_status(interview.status, opens_at=interview.opens_at, now=now),
            talk_time=_talk_time(interview, now),
            join_attempts=counts.get(interview.id, 0),
            connected=_connected(facts[interview.id]),
        )
        for interview in interviews
    ]


def _connected(facts: Facts) -> list[ParticipantSession]:
    connected = [each for each in participant_sessions(facts) if each.departure is None]
    return sorted(connected, key=lambda each: (each.joined_at, each.connection.joined_order))


def _talk_time(interview: Interview, now: datetime) -> timedelta:
    if interview.talking_since is None:
        return interview.talk_time
    return interview.talk_time + max(now - interview.talking_since, timedelta())

"""Erasing an interview's personal data. A tombstone stays: ids, times, and how it ended (docs/decisions/0008)."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel
from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.idempotency_keys import rewrite_answers
from app.core import metrics
from app.core.database import driver_connection
from app.core.errors import InterviewNotFound, InterviewNotOver
from app.core.timestamps import rfc3339
from app.interviews.changes import count_change, record_changes
from app.interviews.interview_rows import AnyInterview
from app.interviews.participant_events import role_of
from app.interviews.status_update import keep_joins_out, lock_interview
from app.lifecycle import Outcome, PublicStatus, Role
from app.livekit.webhooks import Participant
from app.models import ChangeType, Connection, Interview, JoinRequest, Report, TimelineEntry, WrongTry

TEXTS = ("participant_name", "phone_number", "job_title", "company_name", "instructions")
"""What people wrote about the interview: any of it may name somebody, so all of it goes."""


class Overdue(NamedTuple):
    """An interview whose personal data was kept for long enough; in the order in which it is erased."""

    ended_at: datetime
    id: uuid.UUID


class Why(StrEnum):
    """Who had it erased: the kind of its line on the timeline."""

    ASKED = "call"
    RETENTION = "service"


async def erase_owned(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID, now: datetime
) -> None:
    """Erase the personal data of the organization's interview, as somebody asked for. Erased already is fine.

    Raises InterviewNotFound, for another organization's as well, and InterviewNotOver.
    """
    interview = await lock_interview(session, interview_id, organization_id=organization_id)
    if interview is None:
        raise InterviewNotFound
    if not interview.status.is_terminal:
        raise InterviewNotOver("Its data is still needed. Cancel it first.", interviewStatus=interview.status)
    await _erase(session, interview, why=Why.ASKED, now=now)


async def erase_overdue(session: AsyncSession, *, interview_id: uuid.UUID, before: datetime, now: datetime) -> None:
    """Erase the personal data of an interview that was over by `before`; one that was opened again since is let be."""
    interview = await lock_interview(session, interview_id)
    if interview and interview.ended_at and interview.ended_at <= before:
        await _erase(session, interview, why=Why.RETENTION, now=now)


async def find_overdue(
    session: AsyncSession, *, before: datetime, limit: int, after: Overdue | None = None
) -> list[Overdue]:
    """Return interviews that were over by `before` and have personal data still, longest over first."""
    query = select(Interview.ended_at, Interview.id).where(
        Interview.ended_at <= before, Interview.personal_data_erased_at.is_(None)
    )
    if after:
        query = query.where(tuple_(Interview.ended_at, Interview.id) > tuple_(*after))
    rows = await session.execute(query.order_by(Interview.ended_at, Interview.id).limit(limit))
    return [Overdue(row.ended_at, row.id) for row in rows]


async def _erase(session: AsyncSession, interview: Interview, *, why: Why, now: datetime) -> None:
    """Erase once. The interview is locked, and over: no rule looks at names any more, so that its status stays."""
    if interview.personal_data_erased_at:
        return
    await keep_joins_out(session, interview)  # each of them would store an address
    await _erase_from_timeline(session, interview)
    await _erase_from_facts(session, interview.id)
    await _erase_from_answers(session, interview, now)
    for name in TEXTS:
        setattr(interview, name, "")
    interview.context = interview.invite_hash = interview.invite_expires_at = None
    interview.personal_data_erased_at = interview.updated_at = now
    session.add(TimelineEntry.about(interview, kind=why, name="personal_data_erased", detail={}))
    change = count_change(interview, ChangeType.PERSONAL_DATA_ERASED, PublicStatus(interview.status))
    await record_changes(await driver_connection(session), [change], now=now)
    metrics.PERSONAL_DATA_ERASED.labels(why="asked" if why is Why.ASKED else "retention").inc()


async def _erase_from_timeline(session: AsyncSession, interview: Interview) -> None:
    rows = await session.execute(
        select(Connection.identity, Connection.role).where(Connection.interview_id == interview.id)
    )
    roles = {row.identity: row.role for row in rows} | {interview.candidate_identity: Role.CANDIDATE}
    for entry in await session.scalars(select(TimelineEntry).where(TimelineEntry.interview_id == interview.id)):
        entry.detail = redact(entry.detail, roles)
    await session.flush()


async def _erase_from_facts(session: AsyncSession, interview_id: uuid.UUID) -> None:
    of_connections = update(Connection).where(Connection.interview_id == interview_id)
    await session.execute(of_connections.values(identity=func.lower(Connection.role)))
    await session.execute(update(Report).where(Report.interview_id == interview_id).values(summary=None, result=None))
    await session.execute(update(JoinRequest).where(JoinRequest.interview_id == interview_id).values(address=None))
    await session.execute(delete(WrongTry).where(WrongTry.interview_id == interview_id))


async def _erase_from_answers(session: AsyncSession, interview: Interview, now: datetime) -> None:
    """Erase from answers that are kept for an Idempotency-Key: they still keep the calls from being done twice."""
    own = str(interview.id)
    empty = {to_camel(name): "" for name in TEXTS} | {"connected": [], "personalDataErasedAt": rfc3339(now)}

    def rewrite(told: Any) -> Any:
        if isinstance(told, list):
            return [rewrite(each) for each in told]
        if not isinstance(told, dict):
            return told
        if told.get("interviewId") == own:
            return told | {name: value for name, value in empty.items() if name in told}
        return {name: rewrite(value) for name, value in told.items()}

    await rewrite_answers(
        session, organization_id=interview.organization_id, interview_id=interview.id, rewrite=rewrite
    )


# What stays of a timeline entry: instants, LiveKit's opaque ids, and words that only this service or LiveKit chooses.
SAFE_KEYS = frozenset(
    {
        *("createdAt", "roomSid", "sid", "kind", "reason", "askedAt"),
        *("from", "to", "endReason", "endedAt", "startedAt", "talkTime", "why", "before"),
        *("fields", "expiresAt", "cameBack", "number", "secondsLeft"),
    }
)
LISTS = ("present", "joined", "gone")  # of identities


def identity_kept(who: Participant, interview: AnyInterview) -> str:
    """Return what may be stored of a participant's identity: once the data was erased, the role that it stands for."""
    return role_of(who, interview).lower() if interview.personal_data_erased_at else who.identity


def redact(detail: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, Any]:
    """Return a timeline entry's detail without what may name somebody. `roles` are by identity.

    What is not known to be harmless goes, so that an entry of a new kind keeps nothing until somebody thought of it.
    """
    kept = {name: value for name, value in detail.items() if name in SAFE_KEYS}
    if detail.get("outcome") in set(Outcome):  # whoever may set attributes may write there whatever they like
        kept["outcome"] = detail["outcome"]
    if "identity" in detail:
        kept["identity"] = roles.get(detail["identity"], Role.OTHER).lower()
    lists = {name: detail[name] for name in LISTS if name in detail}
    return kept | {name: [roles.get(each, Role.OTHER).lower() for each in found] for name, found in lists.items()}

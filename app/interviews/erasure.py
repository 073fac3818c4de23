"""Erase an interview's personal data. A tombstone stays: ids, times, and how it ended (docs/decisions/0008)."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

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
from app.interviews.status_update import keep_joins_out, lock_interview
from app.lifecycle import Outcome, PublicStatus, Role
from app.models import (
    ChangeType,
    Checkpoint,
    Connection,
    Interview,
    JoinRequest,
    Report,
    TimelineEntry,
    TranscriptLine,
    WrongTry,
)

TEXTS = ("participant_name", "phone_number", "job_title", "company_name", "instructions")
"""Free texts, any of which may name a person: all are erased."""


class Overdue(NamedTuple):
    """An interview whose retention period is over. Sorted in the order of erasure."""

    ended_at: datetime
    id: uuid.UUID


async def erase_owned(
    session: AsyncSession, *, organization_id: uuid.UUID, interview_id: uuid.UUID, now: datetime
) -> None:
    """Erase the personal data of the organization's interview, once. Raises InterviewNotFound, InterviewNotOver."""
    interview = await lock_interview(session, interview_id, organization_id=organization_id)
    if interview is None:
        raise InterviewNotFound
    if not interview.status.is_terminal:
        raise InterviewNotOver("Its data is still needed. Cancel it first.", interviewStatus=interview.status)
    await _erase(session, interview, by="call", now=now)


async def erase_overdue(session: AsyncSession, *, interview_id: uuid.UUID, before: datetime, now: datetime) -> None:
    """Erase the personal data of an interview that ended by `before`, unless it was reopened since."""
    interview = await lock_interview(session, interview_id)
    if interview and interview.ended_at and interview.ended_at <= before:
        await _erase(session, interview, by="service", now=now)


async def find_overdue(
    session: AsyncSession, *, before: datetime, limit: int, after: Overdue | None = None
) -> list[Overdue]:
    """Return interviews that ended by `before` and still have personal data, the earliest end first."""
    query = select(Interview.ended_at, Interview.id).where(
        Interview.ended_at <= before, Interview.personal_data_erased_at.is_(None)
    )
    if after:
        query = query.where(tuple_(Interview.ended_at, Interview.id) > tuple_(*after))
    rows = await session.execute(query.order_by(Interview.ended_at, Interview.id).limit(limit))
    return [Overdue(row.ended_at, row.id) for row in rows]


async def _erase(session: AsyncSession, interview: Interview, *, by: Literal["call", "service"], now: datetime) -> None:
    """Erase once. The interview is locked and over, so its status no longer depends on what is erased."""
    if interview.personal_data_erased_at:
        return
    await keep_joins_out(session, interview)  # a join stores an address
    await _erase_from_timeline(session, interview)
    await _erase_from_facts(session, interview.id)
    await _erase_from_answers(session, interview, now)
    for name in TEXTS:
        setattr(interview, name, "")
    interview.context = interview.invite_hash = interview.invite_expires_at = None
    interview.personal_data_erased_at = interview.updated_at = now
    session.add(TimelineEntry.about(interview, kind=by, name="personal_data_erased", detail={}))
    change = count_change(interview, ChangeType.PERSONAL_DATA_ERASED, PublicStatus(interview.status), now)
    await record_changes(await driver_connection(session), [change])
    metrics.PERSONAL_DATA_ERASED.labels(why="asked" if by == "call" else "retention").inc()


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
    await session.execute(delete(TranscriptLine).where(TranscriptLine.interview_id == interview_id))
    await session.execute(delete(Checkpoint).where(Checkpoint.interview_id == interview_id))


async def _erase_from_answers(session: AsyncSession, interview: Interview, now: datetime) -> None:
    """Erase from the responses kept for Idempotency-Keys, which still keep calls from being handled twice."""
    own = str(interview.id)
    empty = {to_camel(name): "" for name in TEXTS} | {"connected": [], "personalDataErasedAt": rfc3339(now)}

    def rewrite(body: Any) -> Any:
        if isinstance(body, list):
            return [rewrite(each) for each in body]
        if not isinstance(body, dict):
            return body
        if body.get("interviewId") == own:
            return body | {name: value for name, value in empty.items() if name in body}
        return {name: rewrite(value) for name, value in body.items()}

    owner = interview.organization_id
    await rewrite_answers(session, organization_id=owner, interview_id=interview.id, rewrite=rewrite)


# What stays of a timeline entry: times, LiveKit's opaque ids, and words that only this service or LiveKit chooses.
SAFE_FIELDS = frozenset(
    {
        *("createdAt", "roomSid", "sid", "role", "kind", "hidden", "reason", "askedAt", "seenAs"),
        *("from", "to", "endReason", "endedAt", "startedAt", "talkTime", "why", "before"),
        *("fields", "expiresAt", "cameBack", "number", "secondsLeft"),
    }
)
IDENTITY_LISTS = ("present", "joined", "gone")


def identity_kept(identity: str, role: Role, interview: AnyInterview) -> str:
    """Return a participant's identity, or its role if the interview's personal data was erased."""
    return role.lower() if interview.personal_data_erased_at else identity


def redact(detail: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, Any]:
    """Return a timeline entry's detail without personal data. `roles` are by identity, for entries without roles.

    Only keys known to be safe stay, so a new kind of entry keeps nothing until its keys are added.
    """
    kept = {name: value for name, value in detail.items() if name in SAFE_FIELDS}
    if detail.get("outcome") in set(Outcome):  # an unknown outcome may be any text
        kept["outcome"] = detail["outcome"]
    if "sid" not in detail:
        kept.pop("reason", None)  # a recruiter gave it, not LiveKit
    if "identity" in detail:
        kept["identity"] = _role(detail["identity"], detail, roles).lower()
    for name in IDENTITY_LISTS:
        if name in detail:
            kept[name] = [_role(*each, roles).lower() for each in seen_as(name, detail[name], detail)]
    return kept


def seen_as(name: str, identities: Sequence[str], detail: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Return each identity of a room snapshot's list with its role and kind; {} where those were not stored yet."""
    return zip(identities, detail.get("seenAs", {}).get(name) or [{}] * len(identities), strict=True)


def _role(identity: str, described: Mapping[str, Any], roles: Mapping[str, Role]) -> Role:
    return Role(described.get("role") or roles.get(identity, Role.OTHER))

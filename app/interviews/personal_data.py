"""Read a person's data: all that an erasure would erase (app.interviews.erasure), page by page.

Each page is read in its own transaction, so that a slow reader holds no connection. What changes meanwhile may be read
as it was.
"""

import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import undefer

from app.core.database import transaction
from app.interviews.erasure import TEXTS
from app.models import (
    Checkpoint,
    Connection,
    IdempotencyKey,
    Interview,
    JoinRequest,
    Report,
    TimelineEntry,
    TranscriptLine,
    WrongTry,
)
from app.models.base import Base

Sessions = async_sessionmaker[AsyncSession]
Record = dict[str, Any]

INTERVIEW = ("candidate_id", "application_id", "job_post_id", *TEXTS, "search_text", "context", "invite_hash",
             "invite_expires_at")  # fmt: skip
"""The columns of the interview itself."""
INTERVIEWS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of a table that belong to an interview: which columns, in which order, and how many are read at once."""

    table: type[Base]
    columns: tuple[str, ...]
    key: tuple[str, ...]
    page_size: int = 500


# Reports and answers are read one by one: each may have 256 KB and more.
SECTIONS = {
    "connections": Section(
        Connection, ("sid", "attempt", "identity", "role", "joined_at", "left_at", "leave_reason", "outcome"), ("sid",)
    ),
    "reports": Section(
        Report, ("attempt", "outcome", "said_at", "last_said_at", "summary", "result"), ("attempt", "outcome"), 1
    ),
    "join_requests": Section(JoinRequest, ("at", "attempt", "answer", "address"), ("id",)),
    "wrong_tries": Section(WrongTry, ("at", "address"), ("id",)),
    "timeline": Section(TimelineEntry, ("at", "attempt", "kind", "name", "detail"), ("id",)),
    "transcript_lines": Section(
        TranscriptLine,
        ("attempt", "position", "agent", "line_id", "speaker", "text", "said_at"),
        ("attempt", "position"),
    ),
    "checkpoints": Section(
        Checkpoint, ("attempt", "agent", "earlier_agents", "sequence", "state", "updated_at"), ("interview_id",), 1
    ),
    "idempotency_keys": Section(IdempotencyKey, ("key", "created_at", "fingerprint", "body"), ("key",), 1),
}


async def read_interview(sessions: Sessions, *, interview_id: uuid.UUID) -> Interview:
    """Return the row with the columns that are loaded on request only."""
    async with transaction(sessions) as session:
        deferred = (undefer(Interview.context), undefer(Interview.search_text))
        return await session.get_one(Interview, interview_id, options=deferred)


async def read_section(sessions: Sessions, section: Section, *, interview: Interview) -> AsyncIterator[list[Record]]:
    """Yield the interview's rows in pages. Of the responses kept for Idempotency-Keys, only what is about it."""
    table = section.table.__table__
    key = [table.c[name] for name in section.key]
    columns = (table.c[name] for name in dict.fromkeys((*section.key, *section.columns)))
    query = select(*columns).where(_belongs_to(interview, section.table)).order_by(*key).limit(section.page_size)
    page = query
    while True:
        async with transaction(sessions) as session:
            rows = (await session.execute(page)).mappings().all()
        if rows:
            yield [_record(row, section, interview.id) for row in rows]
        if len(rows) < section.page_size:
            return
        page = query.where(tuple_(*key) > tuple_(*(rows[-1][name] for name in section.key)))


async def candidates_interviews(
    sessions: Sessions, *, organization_id: uuid.UUID, candidate_id: str
) -> AsyncIterator[uuid.UUID]:
    """Yield the ids of the candidate's interviews in the organization."""
    query = select(Interview.id).where(
        Interview.organization_id == organization_id, Interview.candidate_id == candidate_id
    )
    last = uuid.UUID(int=0)
    while True:
        page = query.where(Interview.id > last).order_by(Interview.id).limit(INTERVIEWS_AT_ONCE)
        async with transaction(sessions) as session:
            ids = (await session.scalars(page)).all()
        for last in ids:
            yield last
        if len(ids) < INTERVIEWS_AT_ONCE:
            return


def _belongs_to(interview: Interview, table: type[Base]) -> ColumnElement[bool]:
    if table is IdempotencyKey:
        is_owners = IdempotencyKey.organization_id == interview.organization_id
        return is_owners & IdempotencyKey.interview_ids.contains([interview.id])
    belongs: ColumnElement[bool] = table.__table__.c.interview_id == interview.id
    return belongs


def _record(row: Mapping[Any, Any], section: Section, interview_id: uuid.UUID) -> Record:
    record = {name: row[name] for name in section.columns}
    if section.table is IdempotencyKey:
        record["body"] = list(_objects_about(str(interview_id), orjson.loads(record["body"])))
    return record


def _objects_about(interview_id: str, body: Any) -> list[Record]:
    """Return the objects of an answer that have the interview's id: a batch's answer has other people's too."""
    if isinstance(body, list):
        return [found for each in body for found in _objects_about(interview_id, each)]
    if not isinstance(body, dict):
        return []
    if body.get("interviewId") == interview_id:
        return [body]
    return [found for each in body.values() for found in _objects_about(interview_id, each)]

"""Rows of many interviews at once, without the ORM: locked by one statement and stored by one.

To SQLAlchemy's ORM each of an interview's fifty columns is something to watch; settling reads half of them.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.lifecycle import EndReason, Status
from app.models import Interview


@dataclass(slots=True)
class InterviewRow:
    """What settling needs of an interview's locked row. What is set on it, store() writes."""

    id: uuid.UUID
    organization_id: uuid.UUID
    candidate_identity: str
    max_duration: int
    opens_at: datetime | None
    closes_at: datetime | None
    sequence: int
    attempt: int
    status: Status
    end_reason: EndReason | None
    started_at: datetime | None
    ended_at: datetime | None
    talk_time: timedelta
    talking_since: datetime | None
    decided_cause: str | None
    decided_status: Status | None
    decided_end_reason: EndReason | None
    cancelled_at: datetime | None
    asked_at: datetime | None
    room_gone_at: datetime | None
    dispatches: int
    dispatched_at: datetime | None
    told: timedelta | None
    next_deadline_at: datetime | None
    settled_at: datetime
    updated_at: datetime
    personal_data_erased_at: datetime | None

    def __post_init__(self) -> None:
        self.status = Status(self.status)
        self.end_reason = self.end_reason and EndReason(self.end_reason)
        self.decided_status = self.decided_status and Status(self.decided_status)
        self.decided_end_reason = self.decided_end_reason and EndReason(self.decided_end_reason)


AnyInterview = Interview | InterviewRow

_COLUMNS = ", ".join(
    "'candidate-' || candidate_id" if field.name == "candidate_identity" else field.name
    for field in fields(InterviewRow)
)
# Whoever locks many must not wait for one: that could deadlock, and would hold up the others.
LOCK = text(
    f"SELECT {_COLUMNS} FROM interviews WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"  # noqa: S608
)
LOCK_ONE = text(f"SELECT {_COLUMNS} FROM interviews WHERE id = ANY(:ids) FOR NO KEY UPDATE")  # noqa: S608 - our columns
EXISTING = text("SELECT id FROM interviews WHERE id = ANY(:ids)")
STORE = text(
    """
    UPDATE interviews i SET
        sequence = row.sequence,
        status = row.status,
        end_reason = row.end_reason,
        started_at = row.started_at,
        ended_at = row.ended_at,
        talk_time = make_interval(secs => row.talk_time),
        talking_since = row.talking_since,
        decided_cause = row.decided_cause,
        decided_status = row.decided_status,
        decided_end_reason = row.decided_end_reason,
        next_deadline_at = row.next_deadline_at,
        settled_at = row.settled_at,
        updated_at = greatest(i.updated_at, row.updated_at)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS row (
        id uuid, sequence bigint, status text, end_reason text, started_at timestamptz, ended_at timestamptz,
        talk_time double precision, talking_since timestamptz, decided_cause text, decided_status text,
        decided_end_reason text, next_deadline_at timestamptz, settled_at timestamptz, updated_at timestamptz
    )
    WHERE i.id = row.id
    """
)
_STORED = (
    "id",
    "sequence",
    "status",
    "end_reason",
    "started_at",
    "ended_at",
    "talking_since",
    "decided_cause",
    "decided_status",
    "decided_end_reason",
    "next_deadline_at",
    "settled_at",
    "updated_at",
)


async def lock_rows(session: AsyncSession, ids: Sequence[uuid.UUID], *, waits: bool) -> dict[uuid.UUID, InterviewRow]:
    """Lock the interviews' rows until the transaction ends, before any of their facts is written.

    Only one may be waited for; of several, those that somebody else has locked are left out.
    """
    if waits and len(ids) > 1:
        raise ValueError("two that wait for several locks may wait for each other")
    rows = await session.execute(LOCK_ONE if waits else LOCK, {"ids": ids})
    return {row.id: InterviewRow(*row) for row in rows}


async def existing(session: AsyncSession, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of the interviews there are, locked by somebody or not."""
    return set(await session.scalars(EXISTING, {"ids": ids})) if ids else set()


async def store(session: AsyncSession, rows: Sequence[InterviewRow]) -> None:
    """Write what settling has set on the locked rows."""
    if rows:
        await session.execute(STORE, {"rows": recordset(_stored(row) for row in rows)})


def recordset(rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as the JSON that jsonb_to_recordset reads."""
    return orjson.dumps(list(rows), default=str).decode()  # asyncpg's UUIDs are of a class of its own


def _stored(row: InterviewRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in _STORED} | {"talk_time": row.talk_time.total_seconds()}

"""Rows of interviews without the ORM: locked by one statement and stored by one, however many they are.

The ORM tracks all fifty columns of an interview, a status update needs half of them. asyncpg runs the statements,
because SQLAlchemy spends more time on each than Postgres does.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from operator import attrgetter

import asyncpg

from app.core.errors import InterviewErased, InterviewNotFound
from app.lifecycle import EndReason, Status, ends_at
from app.livekit.rooms import room_name
from app.models import Interview


@dataclass(slots=True)
class InterviewRow:
    """What a status update needs of an interview's row. store_rows() writes what was set on it."""

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

    @property
    def room_name(self) -> str:
        return room_name(self.id, self.attempt)


AnyInterview = Interview | InterviewRow


def time_left(interview: AnyInterview, now: datetime) -> timedelta | None:
    """Return the time until the conversation reaches its maximum duration, None before the start."""
    if interview.started_at is None:
        return None
    return max(ends_at(interview.started_at, timedelta(seconds=interview.max_duration)) - now, timedelta())


_COLUMNS = ", ".join(
    "'candidate-' || candidate_id" if field.name == "candidate_identity" else field.name
    for field in fields(InterviewRow)
)
_READ = f"SELECT {_COLUMNS} FROM interviews WHERE id = ANY($1::uuid[])"  # noqa: S608 - our own columns
# Not FOR UPDATE: it deadlocks with inserts of rows that refer to the interview.
_LOCK_ONE = f"{_READ} AND ($2::uuid IS NULL OR organization_id = $2) FOR NO KEY UPDATE"
# A batch that waits for one row could deadlock, and would hold up the others.
_LOCK_BATCH = f"{_READ} ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
_EXISTING = "SELECT id FROM interviews WHERE id = ANY($1::uuid[])"
_STORED = {
    "id": "uuid",
    "sequence": "bigint",
    "status": "text",
    "end_reason": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "talk_time": "interval",
    "talking_since": "timestamptz",
    "decided_cause": "text",
    "decided_status": "text",
    "decided_end_reason": "text",
    "asked_at": "timestamptz",
    "next_deadline_at": "timestamptz",
    "settled_at": "timestamptz",
    "updated_at": "timestamptz",
}
_STORE = f"""
    UPDATE interviews i SET
        {", ".join(f"{name} = row.{name}" for name in _STORED if name not in ("id", "updated_at"))},
        updated_at = greatest(i.updated_at, row.updated_at)
    FROM unnest({", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(_STORED.values(), 1))})
        AS row ({", ".join(_STORED)})
    WHERE i.id = row.id
"""  # noqa: S608 - our own columns
_stored = attrgetter(*_STORED)


async def read_row(connection: asyncpg.Connection, interview_id: uuid.UUID) -> InterviewRow | None:
    """Return the interview's row without locking it."""
    row = await connection.fetchrow(_READ, [interview_id])
    return InterviewRow(*row) if row else None


async def lock_row(
    connection: asyncpg.Connection, interview_id: uuid.UUID, *, organization_id: uuid.UUID | None = None
) -> InterviewRow | None:
    """Wait for the interview's row and lock it until the transaction ends; None if there is no such interview.

    Lock before writing any of its facts. With an organization, another's interview is neither waited for nor locked.
    """
    row = await connection.fetchrow(_LOCK_ONE, [interview_id], organization_id)
    return InterviewRow(*row) if row else None


async def lock_owned_row(
    connection: asyncpg.Connection, interview_id: uuid.UUID, *, organization_id: uuid.UUID
) -> InterviewRow:
    """Lock the organization's interview as lock_row() does. Raises InterviewNotFound, InterviewErased."""
    row = await lock_row(connection, interview_id, organization_id=organization_id)
    if row is None:
        raise InterviewNotFound
    if row.personal_data_erased_at:
        raise InterviewErased
    return row


async def lock_rows(connection: asyncpg.Connection, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, InterviewRow]:
    """Lock a batch of rows as lock_row() does, but skip those that are locked elsewhere. Return them by id."""
    return {row[0]: InterviewRow(*row) for row in await connection.fetch(_LOCK_BATCH, ids)}


async def existing_ids(connection: asyncpg.Connection, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return which of the interviews exist, locked or not."""
    return {row[0] for row in await connection.fetch(_EXISTING, ids)} if ids else set()


async def store_rows(connection: asyncpg.Connection, rows: Sequence[InterviewRow]) -> None:
    """Write what a status update or a room snapshot has set on the locked rows."""
    if rows:
        await connection.execute(_STORE, *zip(*map(_stored, rows), strict=True))

"""Settling: lock the interview, derive from its facts, store what changed and say on the timeline by which rule.

Everything that may move a status ends here: webhooks, calls, deadlines, what LiveKit answered when asked.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import asyncpg
import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import metrics
from app.core.database import driver_connection
from app.interviews.changes import NewChange, count_change, write_changes
from app.interviews.interview_rows import AnyInterview, InterviewRow, store
from app.interviews.stored_facts import load_facts, read_facts
from app.lifecycle import Derived, PublicStatus, Timeouts, derive, public_status
from app.models import ChangeType, Interview

_WRITE = """
    INSERT INTO timeline (interview_id, attempt, kind, name, detail)
    SELECT interview_id, attempt, 'status', rule, detail
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::jsonb[]) AS line (interview_id, attempt, rule, detail)
"""


class StatusTransition(NamedTuple):
    """A change of status, for the timeline: by which rule it was, and the JSON of what it changed."""

    interview_id: uuid.UUID
    attempt: int
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """What settling has found, to be said on the timeline and to those who listen."""

    transitions: list[StatusTransition] = field(default_factory=list)
    changes: list[NewChange] = field(default_factory=list)


async def lock_interview(
    session: AsyncSession, interview_id: uuid.UUID, *, organization_id: uuid.UUID | None = None
) -> Interview | None:
    """Lock the interview's row until the transaction ends, before any of its facts is written.

    With an organization only if it is its own: another's row is neither waited for nor held.
    FOR NO KEY UPDATE, because rows that refer to the interview are inserted meanwhile: FOR UPDATE deadlocks with them.
    """
    query = select(Interview).where(Interview.id == interview_id)
    if organization_id:
        query = query.where(Interview.organization_id == organization_id)
    return await session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


async def keep_joins_out(session: AsyncSession, interview: Interview) -> None:
    """Wait for joins of the locked interview that are under way; none gets further until this is committed."""
    await session.execute(select(Interview.id).where(Interview.id == interview.id).with_for_update())


async def update_status(
    session: AsyncSession,
    *,
    interview: Interview,
    now: datetime,
    timeouts: Timeouts,
    edited_from: PublicStatus | None = None,
) -> Derived:
    """Derive the locked interview's status from its stored facts as of `now`, and store it.

    `edited_from` is the status that was shown before its details were edited: that is told even if nothing moves.
    """
    facts = await load_facts(session, [interview])
    derived = derive(facts[interview.id], now, timeouts)
    update = StatusUpdate()
    _apply(interview, derived, now, edited_from, update)
    await session.flush()
    await _write_update(await driver_connection(session), update, now)
    return derived


async def update_statuses(
    connection: asyncpg.Connection, rows: Sequence[InterviewRow], *, now: datetime, timeouts: Timeouts
) -> dict[uuid.UUID, Derived]:
    """Settle several locked interviews, in the same way, by as many statements as one takes."""
    facts = await read_facts(connection, rows)
    derived = {each.id: derive(facts[each.id], now, timeouts) for each in rows}
    update = StatusUpdate()
    for each in rows:
        _apply(each, derived[each.id], now, None, update)
    await store(connection, rows)
    await _write_update(connection, update, now)
    return derived


async def _write_update(connection: asyncpg.Connection, update: StatusUpdate, now: datetime) -> None:
    if update.transitions:
        await connection.execute(_WRITE, *zip(*update.transitions, strict=True))
    await write_changes(connection, update.changes, now=now)


def _apply(
    interview: AnyInterview, derived: Derived, now: datetime, edited_from: PublicStatus | None, update: StatusUpdate
) -> None:
    """Set on the row what was derived, and add what is to be told of it."""
    previous = edited_from or public_status(interview.status, opens_at=interview.opens_at, now=now)
    is_moved = interview.status != derived.status or interview.end_reason != derived.end_reason
    if is_moved:
        update.transitions.append(_transition(interview, derived))
    interview.settled_at = now
    interview.next_deadline_at = derived.next_deadline_at
    if _set(interview, derived) or edited_from:
        interview.updated_at = now
        has_moved = is_moved or previous != public_status(interview.status, opens_at=interview.opens_at, now=now)
        type_ = _type_of(derived) if has_moved else ChangeType.UPDATED
        update.changes.append(count_change(interview, type_, previous))


def _type_of(derived: Derived) -> ChangeType:
    return ChangeType.AMENDED if derived.rule == "amended" else ChangeType.STATUS_CHANGED


def _transition(interview: AnyInterview, derived: Derived) -> StatusTransition:
    moved = {"from": interview.status, "to": derived.status, "endReason": derived.end_reason}
    detail = orjson.dumps(moved | _end(derived)).decode()
    return StatusTransition(interview.id, interview.attempt, derived.rule, detail)


def _end(derived: Derived) -> dict[str, object]:
    """Return what is final once the attempt has ended: the audit compares it with the row."""
    if derived.ended_at is None:
        return {"endedAt": None}
    return {
        "endedAt": derived.ended_at.isoformat(),
        "startedAt": derived.started_at.isoformat() if derived.started_at else None,
        "talkTime": derived.talk_time.total_seconds(),
    }


def _set(interview: AnyInterview, derived: Derived) -> bool:
    """Set what was derived on the row; tell whether anything that a recruiter sees is another than before."""
    seen = {
        "status": derived.status,
        "end_reason": derived.end_reason,
        "started_at": derived.started_at,
        "ended_at": derived.ended_at,
        "talk_time": derived.talk_time,
        "talking_since": derived.talking_since,
    }
    changed = any(getattr(interview, name) != value for name, value in seen.items())
    for name, value in seen.items():
        setattr(interview, name, value)
    if derived.decision:
        if interview.decided_cause is None:
            metrics.DECISIONS.labels(cause=derived.decision.rule).inc()
        interview.decided_cause = derived.decision.rule
        interview.decided_status = derived.decision.status
        interview.decided_end_reason = derived.decision.end_reason
    return changed

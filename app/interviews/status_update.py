"""The status update: derive locked interviews' statuses from their stored facts, store them, record what changed.

Webhooks, API calls, deadlines and room snapshots all end here. The hot paths give asyncpg InterviewRows: the ORM is too
slow for webhooks. API calls edit columns that only the ORM's Interview has: they lock it with lock_interview() and pass
driver_connection(session), and the session stores what was set on it.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import metrics
from app.core.database import driver_connection
from app.interviews.changes import NewChange, count_change, record_changes
from app.interviews.interview_rows import AnyInterview, InterviewRow, lock_row, store_rows
from app.interviews.stored_facts import load_facts
from app.interviews.transcript import transcript_changes
from app.lifecycle import Derived, PublicStatus, Status, Timeouts, derive, public_status
from app.models import ChangeType, Interview, TimelineEntry

_INSERT_TRANSITIONS = """
    INSERT INTO timeline (interview_id, attempt, kind, name, detail)
    SELECT interview_id, attempt, 'status', rule, detail
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::jsonb[]) AS row (interview_id, attempt, rule, detail)
"""
Transition = tuple[uuid.UUID, int, str, str]
"""A row of that statement; the detail is JSON."""


async def lock_interview(
    session: AsyncSession, interview_id: uuid.UUID, *, organization_id: uuid.UUID | None = None
) -> Interview | None:
    """Lock the interview as lock_row() does, and return the ORM's object."""
    row = await lock_row(await driver_connection(session), interview_id, organization_id=organization_id)
    return await session.get(Interview, interview_id, populate_existing=True) if row else None


async def keep_joins_out(session: AsyncSession, interview: Interview) -> None:
    """Wait for running joins of the locked interview, and block new ones until the transaction ends."""
    await session.execute(select(Interview.id).where(Interview.id == interview.id).with_for_update())


async def open_next_attempt(
    session: AsyncSession, *, interview: Interview, now: datetime, why: str, reason: str | None = None
) -> None:
    """Open the next attempt of a locked interview, in a new room. The timeline keeps how the one before ended.

    `reason` is a recruiter's text, which is personal data.
    """
    previous = interview.status
    before = {"status": previous, "endReason": interview.end_reason}
    interview.attempt += 1
    interview.status = Status.READY_TO_JOIN
    interview.end_reason = interview.started_at = interview.ended_at = interview.talking_since = None
    interview.talk_time = timedelta()
    interview.decided_cause = interview.decided_status = interview.decided_end_reason = None
    interview.cancelled_at = interview.asked_at = interview.room_gone_at = None
    interview.dispatched_at = interview.told = interview.leased_until = None
    interview.dispatches = interview.failures = 0
    interview.next_deadline_at = interview.closes_at
    interview.settled_at = interview.updated_at = now
    after = {"to": Status.READY_TO_JOIN, "endReason": None, "endedAt": None}  # what the audit compares
    detail = {"why": why, "before": before, **after} | ({"reason": reason} if reason else {})
    session.add(TimelineEntry.about(interview, kind="status", name="attempt_opened", detail=detail))
    change = count_change(interview, ChangeType.STATUS_CHANGED, PublicStatus(previous), now)
    await record_changes(await driver_connection(session), [change])


async def update_statuses(
    connection: asyncpg.Connection,
    interviews: Sequence[AnyInterview],
    *,
    now: datetime,
    timeouts: Timeouts,
    edited_from: PublicStatus | None = None,
) -> dict[uuid.UUID, Derived]:
    """Derive the status of each locked interview from its stored facts as of `now`, and store it.

    Return what was derived, by interview id. The number of statements does not depend on the number of interviews.
    `edited_from` is the public status before an edit, which counts as a change even if the status stays the same.
    """
    facts = await load_facts(connection, interviews)
    derived = {each.id: derive(facts[each.id], now, timeouts) for each in interviews}
    live = [each for each in interviews if not each.status.is_terminal]
    updates = [_apply(each, derived[each.id], now, edited_from) for each in interviews]
    transcripts = await transcript_changes(connection, [each for each in live if each.status.is_terminal], now=now)
    await store_rows(connection, [each for each in interviews if isinstance(each, InterviewRow)])
    if transitions := [transition for transition, _ in updates if transition]:
        await connection.execute(_INSERT_TRANSITIONS, *zip(*transitions, strict=True))
    await record_changes(connection, [change for _, change in updates if change])
    await record_changes(connection, transcripts)
    return derived


def _apply(
    interview: AnyInterview, derived: Derived, now: datetime, edited_from: PublicStatus | None
) -> tuple[Transition | None, NewChange | None]:
    """Set what was derived on the interview; return what to record of it."""
    previous = edited_from or public_status(interview.status, opens_at=interview.opens_at, now=now)
    transition = change = None
    if interview.status != derived.status or interview.end_reason != derived.end_reason:
        transition = _transition(interview, derived)
    interview.settled_at = now
    interview.next_deadline_at = derived.next_deadline_at
    if _set_derived(interview, derived) or edited_from:
        interview.updated_at = now
        current = public_status(interview.status, opens_at=interview.opens_at, now=now)
        moved = ChangeType.AMENDED if derived.rule == "amended" else ChangeType.STATUS_CHANGED
        has_moved = transition or previous != current
        change = count_change(interview, moved if has_moved else ChangeType.UPDATED, previous, now)
    return transition, change


def _transition(interview: AnyInterview, derived: Derived) -> Transition:
    detail: dict[str, object] = {"from": interview.status, "to": derived.status, "endReason": derived.end_reason}
    detail["endedAt"] = derived.ended_at
    if derived.ended_at:  # final: the audit compares it with the row
        detail |= {"startedAt": derived.started_at, "talkTime": derived.talk_time.total_seconds()}
    return interview.id, interview.attempt, derived.rule, orjson.dumps(detail).decode()


_PUBLIC = ("status", "end_reason", "started_at", "ended_at", "talk_time", "talking_since")


def _set_derived(interview: AnyInterview, derived: Derived) -> bool:
    """Set what was derived on the interview. Return whether anything public changed."""
    changed = any(getattr(interview, name) != getattr(derived, name) for name in _PUBLIC)
    for name in _PUBLIC:
        setattr(interview, name, getattr(derived, name))
    if derived.decision:
        if interview.decided_cause is None:
            metrics.DECISIONS.labels(cause=derived.decision.rule).inc()
        interview.decided_cause = derived.decision.rule
        interview.decided_status = derived.decision.status
        interview.decided_end_reason = derived.decision.end_reason
    return changed

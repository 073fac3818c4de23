"""Settling: lock the interview, derive from its facts, store what changed and say on the timeline by which rule.

Everything that may move a status ends here: webhooks, calls, deadlines, what LiveKit answered when asked.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import metrics
from app.interviews.changes import ChangeType, NewChange, count_change, record_changes
from app.interviews.facts import load_facts
from app.interviews.rows import AnyInterview, InterviewRow, store
from app.interviews.shown import ShownStatus, shown_status
from app.lifecycle import Derived, Waits, derive
from app.models import Interview, TimelineEntry


async def lock(
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


async def settle(
    session: AsyncSession, *, interview: Interview, now: datetime, waits: Waits, edited_from: ShownStatus | None = None
) -> Derived:
    """Derive the locked interview's status from its stored facts as of `now`, and store it.

    `edited_from` is the status that was shown before its details were edited: that is told even if nothing moves.
    """
    derived = await settle_all(session, interviews=[interview], now=now, waits=waits, edited_from=edited_from)
    return derived[interview.id]


async def settle_all(
    session: AsyncSession,
    *,
    interviews: Sequence[AnyInterview],
    now: datetime,
    waits: Waits,
    edited_from: ShownStatus | None = None,
) -> dict[uuid.UUID, Derived]:
    """Settle several locked interviews, by as many statements as one takes."""
    facts = await load_facts(session, interviews)
    derived = {each.id: derive(facts[each.id], now, waits) for each in interviews}
    lines: list[dict[str, object]] = []
    changes: list[NewChange] = []
    for interview in interviews:
        _settle(interview, derived[interview.id], now, edited_from, lines, changes)
    await session.flush()
    await store(session, [each for each in interviews if isinstance(each, InterviewRow)])
    if lines:
        await session.execute(insert(TimelineEntry), lines)
    await record_changes(session, changes, now=now)
    return derived


def _settle(
    interview: AnyInterview,
    derived: Derived,
    now: datetime,
    edited_from: ShownStatus | None,
    lines: list[dict[str, object]],
    changes: list[NewChange],
) -> None:
    """Set on the row what was derived; add what is to be said on the timeline and to those who listen."""
    previous = edited_from or shown_status(interview.status, opens_at=interview.opens_at, now=now)
    is_moved = interview.status != derived.status or interview.end_reason != derived.end_reason
    if is_moved:
        lines.append(_line(interview, derived))
    interview.settled_at = now
    interview.next_deadline_at = derived.next_deadline_at
    if _set(interview, derived) or edited_from:
        interview.updated_at = now
        is_told = is_moved or previous != shown_status(interview.status, opens_at=interview.opens_at, now=now)
        changes.append(count_change(interview, _type_of(derived) if is_told else ChangeType.UPDATED, previous))


def _type_of(derived: Derived) -> ChangeType:
    return ChangeType.AMENDED if derived.rule == "amended" else ChangeType.STATUS_CHANGED


def _line(interview: AnyInterview, derived: Derived) -> dict[str, object]:
    detail = {"from": interview.status, "to": derived.status, "endReason": derived.end_reason}
    return {
        "interview_id": interview.id,
        "attempt": interview.attempt,
        "kind": "status",
        "name": derived.rule,
        "detail": detail | _end(derived),
    }


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
            metrics.DECISIONS.labels(cause=derived.decision.cause).inc()
        interview.decided_cause = derived.decision.cause
        interview.decided_status = derived.decision.status
        interview.decided_end_reason = derived.decision.end_reason
    return changed

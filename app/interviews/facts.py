"""Reads the stored facts of interviews, for derive()."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import lifecycle
from app.models import Connection, Interview, JoinRequest, Report, Room

TOKEN_ISSUED = "TOKEN_ISSUED"  # noqa: S105 - the name of an answer


async def load_facts(session: AsyncSession, interviews: Sequence[Interview]) -> dict[uuid.UUID, lifecycle.Facts]:
    """Return the facts of each interview's current attempt, by interview id."""
    ids = [interview.id for interview in interviews]
    connections = await _connections(session, ids)
    rooms = await _rooms(session, ids)
    tokens = await _last_tokens(session, ids)
    reports = await _reports(session, ids)
    return {
        interview.id: lifecycle.Facts(
            max_duration=timedelta(seconds=interview.max_duration),
            closes_at=interview.closes_at,
            connections=tuple(connections[interview.id]),
            rooms=tuple(rooms[interview.id]),
            last_token_at=tokens.get(interview.id),
            cancelled_at=interview.cancelled_at,
            reports=tuple(reports[interview.id]),
            decision=_decision(interview),
            asked_at=interview.asked_at,
            room_gone_at=interview.room_gone_at,
            dispatches=interview.dispatches,
            dispatched_at=interview.dispatched_at,
            told=interview.told,
        )
        for interview in interviews
    }


async def _connections(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[lifecycle.Connection]]:
    rows = await session.execute(
        select(Connection)
        .join(Interview, (Interview.id == Connection.interview_id) & (Interview.attempt == Connection.attempt))
        .where(Connection.interview_id.in_(ids))
        .execution_options(populate_existing=True)
    )
    found = defaultdict(list)
    for row in rows.scalars():
        found[row.interview_id].append(
            lifecycle.Connection(
                sid=row.sid,
                room_sid=row.room_sid,
                identity=row.identity,
                role=row.role,
                joined_at=row.joined_at,
                joined_order=row.joined_order,
                left_at=row.left_at,
                left_order=row.left_order,
                leave_reason=row.leave_reason,
                outcome=row.outcome,
                missing_at=row.missing_at,
                seen_at=row.seen_at,
            )
        )
    return found


async def _rooms(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[lifecycle.Room]]:
    rows = await session.execute(
        select(Room)
        .join(Interview, (Interview.id == Room.interview_id) & (Interview.attempt == Room.attempt))
        .where(Room.interview_id.in_(ids))
        .execution_options(populate_existing=True)
    )
    found = defaultdict(list)
    for row in rows.scalars():
        found[row.interview_id].append(lifecycle.Room(row.sid, row.created_at, row.ended_at, row.missing_at))
    return found


async def _last_tokens(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    rows = await session.execute(
        select(JoinRequest.interview_id, func.max(JoinRequest.at).label("last_at"))
        .join(Interview, (Interview.id == JoinRequest.interview_id) & (Interview.attempt == JoinRequest.attempt))
        .where(JoinRequest.interview_id.in_(ids), JoinRequest.answer == TOKEN_ISSUED)
        .group_by(JoinRequest.interview_id)
    )
    return {row.interview_id: row.last_at for row in rows}


async def _reports(session: AsyncSession, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[lifecycle.Report]]:
    rows = await session.execute(
        select(Report.interview_id, Report.said_at, Report.outcome)
        .join(Interview, (Interview.id == Report.interview_id) & (Interview.attempt == Report.attempt))
        .where(Report.interview_id.in_(ids))
        .order_by(Report.said_at)
    )
    found = defaultdict(list)
    for row in rows:
        found[row.interview_id].append(lifecycle.Report(row.said_at, row.outcome))
    return found


def _decision(interview: Interview) -> lifecycle.Decision | None:
    if interview.decided_cause is None or interview.decided_status is None or interview.ended_at is None:
        return None
    return lifecycle.Decision(
        cause=interview.decided_cause,
        ended_at=interview.ended_at,
        status=interview.decided_status,
        end_reason=interview.decided_end_reason,
        started_at=interview.started_at,
        talk_time=interview.talk_time,
    )

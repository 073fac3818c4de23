"""Load the stored facts of interviews, for derive()."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from app import lifecycle
from app.interviews.interview_rows import AnyInterview
from app.lifecycle import Outcome, Role

TOKEN_ISSUED = "TOKEN_ISSUED"  # noqa: S105 - the name of an answer

# One statement saves round trips. OFFSET 0 makes Postgres look up each interview by index: otherwise a plan made while
# a table is small reads all of it, and goes on doing so as the table grows.
FACTS = f"""
    WITH wanted AS (SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS wanted (id, attempt))
    SELECT 'connection' AS kind, wanted.id, sid, joined_at AS at, left_at AS ended_at, missing_at, outcome,
        room_sid, identity, role, joined_order, left_order, leave_reason, seen_at, left_recorded_at
    FROM wanted, LATERAL (
        SELECT * FROM connections fact WHERE fact.interview_id = wanted.id AND fact.attempt = wanted.attempt OFFSET 0
    ) fact
    UNION ALL
    SELECT 'room', wanted.id, sid, created_at, ended_at, missing_at,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM wanted, LATERAL (
        SELECT * FROM rooms fact WHERE fact.interview_id = wanted.id AND fact.attempt = wanted.attempt OFFSET 0
    ) fact
    UNION ALL
    SELECT 'token', wanted.id, NULL, max, min, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM wanted, LATERAL (
        SELECT max(at), min(at) FROM join_requests fact
        WHERE fact.interview_id = wanted.id AND fact.attempt = wanted.attempt AND answer = '{TOKEN_ISSUED}'
    ) token
    WHERE max IS NOT NULL
    UNION ALL
    SELECT 'report', wanted.id, NULL, said_at, NULL, NULL, outcome, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM wanted, LATERAL (
        SELECT * FROM reports fact WHERE fact.interview_id = wanted.id AND fact.attempt = wanted.attempt OFFSET 0
    ) fact
    ORDER BY at
"""  # noqa: S608 - our own text
Rows = defaultdict[tuple[str, uuid.UUID], list[asyncpg.Record]]  # by kind and interview id


async def load_facts(
    connection: asyncpg.Connection, interviews: Sequence[AnyInterview]
) -> dict[uuid.UUID, lifecycle.Facts]:
    """Return the facts of each interview's attempt, by interview id."""
    rows: Rows = defaultdict(list)
    ids, attempts = [each.id for each in interviews], [each.attempt for each in interviews]
    for row in await connection.fetch(FACTS, ids, attempts):
        rows[row["kind"], row["id"]].append(row)
    return {interview.id: _facts(interview, rows) for interview in interviews}


def _facts(interview: AnyInterview, rows: Rows) -> lifecycle.Facts:
    tokens = rows["token", interview.id]
    return lifecycle.Facts(
        max_duration=timedelta(seconds=interview.max_duration),
        closes_at=interview.closes_at,
        connections=tuple(_connection(row) for row in rows["connection", interview.id]),
        rooms=tuple(
            lifecycle.Room(row["sid"], row["at"], row["ended_at"], row["missing_at"])
            for row in rows["room", interview.id]
        ),
        first_token_at=tokens[0]["ended_at"] if tokens else None,
        last_token_at=tokens[0]["at"] if tokens else None,
        cancelled_at=interview.cancelled_at,
        reports=tuple(lifecycle.Report(row["at"], Outcome(row["outcome"])) for row in rows["report", interview.id]),
        decision=_decision(interview),
        checked_at=interview.asked_at,
        room_gone_at=interview.room_gone_at,
        dispatches=interview.dispatches,
        dispatched_at=interview.dispatched_at,
        announced=interview.told,
    )


def _connection(row: asyncpg.Record) -> lifecycle.Connection:
    return lifecycle.Connection(
        sid=row["sid"],
        room_sid=row["room_sid"],
        identity=row["identity"],
        role=Role(row["role"]),
        joined_at=row["at"],
        joined_order=row["joined_order"],
        left_at=row["ended_at"],
        left_order=row["left_order"],
        leave_reason=row["leave_reason"],
        outcome=row["outcome"] and Outcome(row["outcome"]),
        missing_at=row["missing_at"],
        seen_at=row["seen_at"],
        can_amend=row["left_recorded_at"] is not None,
    )


def _decision(interview: AnyInterview) -> lifecycle.Decision | None:
    if interview.decided_cause is None or interview.decided_status is None or interview.ended_at is None:
        return None
    return lifecycle.Decision(
        rule=interview.decided_cause,
        ended_at=interview.ended_at,
        status=interview.decided_status,
        end_reason=interview.decided_end_reason,
        started_at=interview.started_at,
        talk_time=interview.talk_time,
    )

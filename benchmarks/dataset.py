"""A year of interviews, made by SQL: as many as are asked for, with all that is stored about them.

One organization has nearly all. Statuses are mostly terminal, and true: `interviews audit` finds no difference.
"""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from app.core.database import create_engine, create_sessionmaker, transaction
from app.core.schema import migrate
from app.interviews.counts import COMPACT
from app.interviews.schedule import ensure_default_organization
from benchmarks.texts import names, titles

BYTES_PER_ROW = (
    2_000  # of the timeline, with what belongs to it: half of that was measured, and building indexes wants as much
)
CHUNK = 100_000  # interviews that one statement inserts
TABLES = [
    "interviews",
    "timeline",
    "connections",
    "rooms",
    "join_requests",
    "reports",
    "changes",
    "interview_counts",
    "count_changes",
]

ORGANIZATIONS = """
    INSERT INTO organizations (name, company_name, instructions_template, max_duration)
    SELECT 'benchmark-' || n, 'Company ' || n, 'Welcome.', 1800 FROM generate_series(1, 20) n
"""

# luck decides how an interview ended; those of the last two weeks are mostly still to come.
INTERVIEWS = """
    WITH made AS MATERIALIZED (
        SELECT n, random() AS luck, random() < 0.5 AS is_timed, random() AS delay,
            n > $1 * 0.96 AND random() < 0.85 AS is_to_come,
            n > $1 * 0.96 AND random() < 0.005 AS is_live,
            $2::timestamptz - interval '365 days' * (($1 - n)::float8 / $1) AS created_at,
            (n + floor(random() * 5000))::bigint AS campaign,
            floor(pow(random(), 2) * cardinality($5::text[]))::int + 1 AS first,
            floor(pow(random(), 6) * cardinality($7::text[]))::int + 1 AS last,
            (ARRAY['9665', '9665', '9715', '2010'])[1 + floor(random() * 4)::int]
                || lpad(floor(random() * 1e8)::text, 8, '0') AS digits
        FROM generate_series($3::bigint, $4::bigint) n
    ),
    timed AS MATERIALIZED (
        SELECT made.*,
            -- 50, 150 and 350 interviews for the job posts of each 550
            campaign / 550 * 3 + CASE WHEN campaign % 550 < 50 THEN 0 WHEN campaign % 550 < 200 THEN 1 ELSE 2 END
                AS post,
            CASE WHEN is_live THEN CASE WHEN luck < 0.7 THEN 'IN_PROGRESS' ELSE 'WAITING_FOR_AGENT' END
                WHEN is_to_come THEN 'READY_TO_JOIN'
                WHEN luck < 0.70 THEN 'COMPLETED' WHEN luck < 0.82 THEN 'NO_SHOW' WHEN luck < 0.88 THEN 'ABANDONED'
                WHEN luck < 0.95 THEN 'FAILED' ELSE 'CANCELLED' END AS status,
            CASE WHEN is_timed THEN
                CASE WHEN is_to_come THEN $2 + (delay - 0.3) * interval '14 days' ELSE created_at + interval '1 day' END
            END AS opens_at,
            CASE WHEN is_live THEN $2 - delay * interval '10 minutes'
                ELSE least(created_at + interval '26 hours' + delay * interval '1 day', $2 - interval '2 hours')
            END AS came_at
        FROM made
    ),
    ended AS MATERIALIZED (
        SELECT timed.*, status IN ('COMPLETED', 'ABANDONED', 'FAILED', 'NO_SHOW', 'CANCELLED') AS is_over,
            came_at + interval '5 minutes' + delay * interval '25 minutes' AS over_at,
            status IN ('COMPLETED', 'IN_PROGRESS') OR (status = 'FAILED' AND luck < 0.9) AS is_started,
            CASE status
                WHEN 'COMPLETED' THEN CASE WHEN luck < 0.5 THEN 'AGENT_REPORTED' ELSE 'AGENT_LEFT' END
                WHEN 'ABANDONED' THEN 'LEFT_BEFORE_START'
                WHEN 'FAILED' THEN CASE WHEN luck < 0.9 THEN 'CONNECTION_LOST' ELSE 'AGENT_UNAVAILABLE' END
            END AS end_reason
        FROM timed
    )
    INSERT INTO interviews (
        organization_id, candidate_id, application_id, job_post_id, participant_name, phone_number, job_title,
        company_name, instructions, max_duration, opens_at, closes_at, search_text, sequence, status, end_reason,
        started_at, ended_at, talk_time, talking_since, decided_cause, decided_status, decided_end_reason,
        cancelled_at, next_deadline_at, settled_at, created_at, updated_at
    )
    SELECT
        CASE WHEN (luck * 1000)::numeric % 10 < 9.7 THEN $11::uuid ELSE others.ids[1 + n % cardinality(others.ids)] END,
        md5('candidate' || n * 7 / 10)::uuid, md5('application' || n)::uuid, md5('post' || post)::uuid,
        ($5::text[])[first] || ' ' || ($7::text[])[last],
        CASE WHEN n % 4 = 0 THEN '+' || substr(digits, 1, 3) || ' ' || substr(digits, 4, 2) || ' ' || substr(digits, 6)
            ELSE digits END,
        ($9::text[])[1 + post % cardinality($9)], 'MENA Bank',
        'Welcome to your interview for '
            || ($9::text[])[1 + post % cardinality($9)] || ' at MENA Bank. Please speak clearly.',
        1800, opens_at, CASE WHEN is_timed THEN opens_at + interval '15 days' END,
        ($6::text[])[first] || ' ' || ($8::text[])[last] || E'\\n'
            || ($10::text[])[1 + post % cardinality($9)] || E'\\n' || digits,
        CASE WHEN status = 'READY_TO_JOIN' THEN 1 ELSE 2 END, status, end_reason,
        CASE WHEN is_started THEN came_at END, CASE WHEN is_over THEN over_at END,
        CASE WHEN is_over AND is_started THEN over_at - came_at ELSE interval '0' END,
        CASE WHEN status = 'IN_PROGRESS' THEN came_at END,
        CASE WHEN is_over THEN CASE status WHEN 'COMPLETED' THEN 'agent_left' WHEN 'CANCELLED' THEN 'cancelled'
            WHEN 'FAILED' THEN 'candidate_gone' ELSE 'window_over' END END,
        CASE WHEN is_over THEN status END, CASE WHEN is_over THEN end_reason END,
        CASE WHEN status = 'CANCELLED' THEN over_at END,
        CASE status WHEN 'IN_PROGRESS' THEN came_at + interval '25 minutes'
            WHEN 'WAITING_FOR_AGENT' THEN came_at + interval '90 seconds'
            WHEN 'READY_TO_JOIN' THEN CASE WHEN is_timed THEN opens_at + interval '15 days' END END,
        CASE WHEN is_over THEN over_at WHEN is_live THEN came_at ELSE created_at END,
        created_at,
        CASE WHEN is_over THEN over_at WHEN is_live THEN came_at ELSE created_at END
    FROM ended, (SELECT array_agg(id) AS ids FROM organizations WHERE id <> $11) others
    ORDER BY n
"""

CAME = "(started_at IS NOT NULL OR status IN ('ABANDONED', 'FAILED', 'WAITING_FOR_AGENT'))"
AS_OF_END = "coalesce(ended_at, settled_at)"
FACTS = [
    f"""
    INSERT INTO rooms (interview_id, sid, attempt, created_at, ended_at, recorded_at)
    SELECT id, 'RM_' || substr(md5('room' || id), 1, 12), 1, settled_at - interval '10 minutes', ended_at, settled_at
    FROM interviews WHERE {CAME}
    """,
    f"""
    INSERT INTO connections (
        interview_id, sid, attempt, room_sid, identity, role, joined_at, joined_order, left_at, left_order,
        leave_reason, recorded_at
    )
    SELECT id, 'PA_' || substr(md5(role || id), 1, 12), 1, 'RM_' || substr(md5('room' || id), 1, 12),
        CASE role WHEN 'AGENT' THEN 'agent-AJ_' || substr(md5(id::text), 1, 12) ELSE 'candidate-' || candidate_id END,
        role, coalesce(started_at, settled_at), 1, ended_at, CASE WHEN ended_at IS NOT NULL THEN 2 END,
        CASE WHEN ended_at IS NOT NULL THEN 'CLIENT_INITIATED' END, settled_at
    FROM interviews, (VALUES ('CANDIDATE'), ('AGENT')) AS roles (role)
    WHERE {CAME} AND (role = 'CANDIDATE' OR started_at IS NOT NULL)
    """,
    f"""
    INSERT INTO join_requests (interview_id, attempt, at, answer, recorded_at)
    SELECT id, 1, {AS_OF_END} - interval '11 minutes', CASE n WHEN 1 THEN 'TOKEN_ISSUED' ELSE 'too_early' END,
        {AS_OF_END} - interval '11 minutes'
    FROM interviews, generate_series(1, 2) n WHERE {CAME} AND (n = 1 OR id::text < '3')
    """,
    """
    INSERT INTO reports (interview_id, attempt, outcome, said_at, last_said_at, summary, result)
    SELECT id, 1, 'completed', ended_at, ended_at, 'Strong on databases.', '{"score": 4}'
    FROM interviews WHERE end_reason = 'AGENT_REPORTED'
    """,
    """
    INSERT INTO changes (
        organization_id, interview_id, sequence, at, type, attempt, status, previous_status, end_reason
    )
    SELECT organization_id, id, n, CASE n WHEN 1 THEN created_at ELSE updated_at END,
        CASE n WHEN 1 THEN 'interview.scheduled' ELSE 'interview.status_changed' END, 1,
        CASE n WHEN 1 THEN 'READY_TO_JOIN' ELSE status END, CASE n WHEN 2 THEN 'READY_TO_JOIN' END,
        CASE n WHEN 2 THEN end_reason END
    FROM interviews, generate_series(1, 2) n WHERE n <= sequence
    """,
]
# The first says that it was scheduled, the last how it ended; between them is what LiveKit told.
TIMELINE = """
    INSERT INTO timeline (interview_id, attempt, at, kind, name, detail, livekit_event_id)
    SELECT id, 1, CASE WHEN n = 1 THEN created_at ELSE updated_at - ($1 - n) * interval '1 minute' END,
        CASE WHEN n = 1 OR status = 'READY_TO_JOIN' THEN 'call' WHEN n = $1 THEN 'status' ELSE 'livekit' END,
        CASE WHEN n = 1 THEN 'scheduled' WHEN status = 'READY_TO_JOIN' THEN 'edited'
            WHEN n = $1 THEN coalesce(decided_cause, 'both_connected')
            ELSE (ARRAY['room_started', 'participant_joined', 'participant_left'])[1 + n % 3] END,
        CASE WHEN n = 1 THEN '{}'
            WHEN status = 'READY_TO_JOIN' THEN '{"fields": ["jobTitle"]}'
            WHEN n = $1 THEN jsonb_build_object('from', 'READY_TO_JOIN', 'to', status, 'endReason', end_reason,
                'endedAt', to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
            ELSE jsonb_build_object('identity', 'candidate-' || candidate_id, 'sid', 'PA_' || left(id::text, 8),
                'role', 'CANDIDATE', 'reason', 'CLIENT_INITIATED', 'createdAt', updated_at) END,
        CASE WHEN n > 1 AND n < $1 AND status <> 'READY_TO_JOIN' THEN 'EV_' || left(md5(id::text || n), 16) END
    FROM interviews, generate_series(1, $1::bigint) n
"""

CONSTRAINTS = """
    SELECT conrelid::regclass::text AS on_table, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint
    WHERE (contype = 'f' AND (conrelid = ANY ($1::regclass[]) OR confrelid = ANY ($1::regclass[])))
        OR (contype = 'u' AND conrelid = ANY ($1::regclass[]))
    ORDER BY contype
"""
INDEXES = """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
    FROM pg_index i
    WHERE indrelid = ANY ($1::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
"""


class DiskTooFull(RuntimeError):
    """There is too little room for what is to be made."""


def fill(url: str, *, interviews: int, timeline_rows_per_interview: int) -> None:
    """Fill the empty database at a libpq URL, whose role owns it; what migrations are missing are made.

    The rows are of the default organization, but for 3% of twenty others. A minute or two for each million of timeline
    rows and interviews. Raises DiskTooFull, by the disk of the working directory.
    """
    check_disk(interviews * timeline_rows_per_interview * BYTES_PER_ROW)
    asyncio.run(_fill(url, interviews, timeline_rows_per_interview))


def check_disk(needed: int) -> None:
    """Raise DiskTooFull unless so many bytes are free."""
    free = shutil.disk_usage(Path.cwd()).free
    if free < needed:
        raise DiskTooFull(
            f"{needed / 1e9:.0f} GB are needed, {free / 1e9:.0f} GB are free here: make room, or ask for fewer."
        )


async def _fill(url: str, interviews: int, rows_each: int) -> None:
    organization_id = await _prepare(url)
    connection = await asyncpg.connect(url, server_settings={"statement_timeout": "0", "maintenance_work_mem": "512MB"})
    try:
        if await connection.fetchval("SELECT count(*) FROM (SELECT FROM interviews LIMIT 2) few") > 1:
            raise ValueError("This database has interviews already: name an empty one.")
        async with connection.transaction(), _without_indexes(connection):
            await _insert(connection, organization_id, interviews, rows_each)
        await connection.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
    finally:
        await connection.close()


async def _insert(connection: asyncpg.Connection, organization_id: uuid.UUID, interviews: int, rows_each: int) -> None:
    await connection.execute("SELECT setseed(0.5)")  # the same at each run
    await connection.execute(ORGANIZATIONS)
    now = datetime.now(UTC)
    texts = [each for pool in (*names(), titles()) for each in (pool.given, pool.folded)]
    for start in range(1, interviews + 1, CHUNK):
        end = min(start + CHUNK - 1, interviews)
        await connection.execute(INTERVIEWS, interviews, now, start, end, *texts, organization_id)
    for statement in FACTS:
        await connection.execute(statement)
    await connection.execute(TIMELINE, rows_each)
    await connection.execute(COMPACT.text)
    await connection.execute("UPDATE ticks SET last_run = now()")  # a worker beside it has nothing to catch up on


async def _prepare(url: str) -> uuid.UUID:
    """Return the id of the default organization."""
    engine = create_engine(url)
    try:
        await migrate(engine)
        async with transaction(create_sessionmaker(engine)) as session:
            return await ensure_default_organization(session)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _without_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Take indexes, unique and foreign keys away, and build them as they were: row by row takes ten times as long."""
    constraints = await connection.fetch(CONSTRAINTS, TABLES)
    for each in constraints:
        await connection.execute(f"ALTER TABLE {each['on_table']} DROP CONSTRAINT {each['name']}")
    indexes = await connection.fetch(INDEXES, TABLES)
    for each in indexes:
        await connection.execute(f"DROP INDEX {each['name']}")
    yield
    for each in indexes:
        await connection.execute(each["definition"])
    for each in reversed(constraints):  # unique ones first: a foreign key may want one
        await connection.execute(f"ALTER TABLE {each['on_table']} ADD CONSTRAINT {each['name']} {each['definition']}")

"""The SQL of a join, each statement for a batch of joins: read the interviews, then record the answers.

No statement waits for a lock: a row that would have to wait is left out, and the caller sees which. They run on asyncpg
directly, because SQLAlchemy would take longer over each than Postgres does.
"""

import hashlib
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from app.core.errors import TooManyTries
from app.interviews.stored_facts import TOKEN_ISSUED
from app.lifecycle import Status
from app.livekit.rooms import room_name

MAX_TRIES = 5  # wrong tries from one address
TRIES_WINDOW = timedelta(minutes=10)
MAX_TRIES_IN_ALL = 50  # wrong tries from all addresses
TRIES_IN_ALL_WINDOW = timedelta(hours=1)
KNOWN_FOR = timedelta(hours=24)  # an address that joined within this time is not locked out by the tries of others


class JoinSnapshot(NamedTuple):
    """All that a join needs of an interview, as read by one statement."""

    status: Status
    id: uuid.UUID
    candidate_id: str
    application_id: str
    job_post_id: str
    participant_name: str
    phone_number: str
    job_title: str
    company_name: str
    instructions: str
    max_duration: int
    attempt: int
    opens_at: datetime | None
    invite_hash: bytes | None
    invite_expires_at: datetime | None
    is_erased: bool
    join_policy: str
    """The organization's own policy, or empty."""
    rejoin_after_failure: str
    """The organization's RejoinAfterFailure."""
    has_tries_lock: bool
    """Whether this transaction holds the lock on the interview's tries."""

    @property
    def candidate_identity(self) -> str:
        return f"candidate-{self.candidate_id}"

    @property
    def room_name(self) -> str:
        return room_name(self.id, self.attempt)


class JoinRecord(NamedTuple):
    """A row to append to join_requests, or a refusal to count. `answer` is TOKEN_ISSUED or an error's code."""

    interview_id: uuid.UUID
    candidate_id: str
    attempt: int
    at: datetime
    answer: str
    address: bytes | None
    counts_as_try: bool
    is_counted: bool
    """Whether it is a refusal of which only the number is kept, as that of `too_many_tries` is."""
    is_held_back: bool
    """Whether to record it only if the limits turn it into `too_many_tries`."""


_COMPUTED = {
    "is_erased": "i.personal_data_erased_at IS NOT NULL",
    "join_policy": "coalesce(o.join_policy, '')",
    "rejoin_after_failure": "o.rejoin_after_failure",
    "has_tries_lock": """CASE WHEN asked.tries_lock IS NOT NULL AND coalesce(o.join_policy, '') = ANY ($3)
            THEN pg_try_advisory_xact_lock(asked.tries_lock) ELSE false END""",
}
# The columns are JoinSnapshot's fields, in their order. A lock that is NULL is not requested.
_FIND = f"""
    SELECT asked.index - 1, {", ".join(_COMPUTED.get(name, f"i.{name}") for name in JoinSnapshot._fields)}
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS asked (id, tries_lock, index)
    JOIN interviews i ON i.id = asked.id
    JOIN organizations o ON o.id = i.organization_id
"""  # noqa: S608 - built from constants alone

# MATERIALIZED: Postgres would evaluate an inlined CTE once for each reference to it.
# The counts are updated in one order, so that two batches can't wait for each other.
# FOR KEY SHARE blocks edits and erasure of the candidate, whose identity is in the token. The insert takes it anyway.
RECORD = f"""
    WITH locked AS MATERIALIZED (
        SELECT record.*, set_config('synchronous_commit', $10, true)
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bytea[], $7::bool[],
                $8::bool[], $9::bool[]) WITH ORDINALITY AS record ({", ".join(JoinRecord._fields)}, index)
        JOIN interviews i ON i.id = record.interview_id AND i.candidate_id = record.candidate_id
            AND i.personal_data_erased_at IS NULL
        FOR KEY SHARE OF i SKIP LOCKED
    ), limited AS MATERIALIZED (
        SELECT locked.*, CASE WHEN counts_as_try THEN greatest(
            $11::interval + (
                SELECT t.at FROM wrong_tries t
                WHERE t.interview_id = locked.interview_id AND t.address = locked.address
                ORDER BY t.at DESC OFFSET {MAX_TRIES - 1} LIMIT 1
            ),
            $12::interval + (
                SELECT t.at FROM wrong_tries t WHERE t.interview_id = locked.interview_id AND NOT EXISTS (
                    SELECT FROM join_requests r WHERE r.interview_id = locked.interview_id
                        AND r.address = locked.address AND r.answer = '{TOKEN_ISSUED}'
                        AND r.at > locked.at - $13::interval
                )
                ORDER BY t.at DESC OFFSET {MAX_TRIES_IN_ALL - 1} LIMIT 1
            )
        ) END AS locked_until
        FROM locked
    ), answered AS (
        SELECT index, interview_id, attempt, at, address, locked_until,
            is_counted OR (locked_until > at) IS TRUE AS is_counted,
            CASE WHEN locked_until > at THEN '{TooManyTries.code}' ELSE answer END AS answer
        FROM limited WHERE locked_until > at OR NOT is_held_back
    ), appended AS (
        INSERT INTO join_requests (interview_id, attempt, at, answer, address)
        SELECT interview_id, attempt, at, answer, address FROM answered WHERE NOT is_counted
    ), counted AS (
        INSERT INTO refused_joins AS kept (interview_id, attempt, minute, answer, number)
        SELECT interview_id, attempt, date_trunc('minute', at), answer, count(*) FROM answered WHERE is_counted
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (interview_id, minute, attempt, answer) DO UPDATE SET number = kept.number + excluded.number
    )
    SELECT index - 1, CASE WHEN locked_until > at THEN locked_until END FROM answered
"""  # noqa: S608 - built from constants alone

_COUNT = """
    WITH wrong AS (
        SELECT wrong.*, set_config('synchronous_commit', 'on', true)
        FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[]) AS wrong (interview_id, at, address)
    ), expired AS (
        DELETE FROM wrong_tries t USING wrong WHERE t.interview_id = wrong.interview_id
            AND t.at <= wrong.at - $4::interval
    )
    INSERT INTO wrong_tries (interview_id, at, address) SELECT interview_id, at, address FROM wrong
"""


def tries_lock(interview_id: uuid.UUID) -> int:
    """Return the key of the advisory lock that serializes guesses at an interview."""
    return int.from_bytes(hashlib.sha256(b"tries" + interview_id.bytes).digest()[:8], signed=True)


async def load_join_snapshots(
    connection: asyncpg.Connection, *, ids: Sequence[uuid.UUID], guesses: Collection[int], phone_policies: Sequence[str]
) -> list[JoinSnapshot | None]:
    """Return the snapshot of each interview, None where there is no such interview.

    `guesses` holds the indexes of joins with a phone number. The first of each interview tries to take the lock on its
    tries, if the organization's policy is one of `phone_policies`.
    """
    first: dict[uuid.UUID, int] = {}
    locks = [
        tries_lock(id_) if index in guesses and first.setdefault(id_, index) == index else None
        for index, id_ in enumerate(ids)
    ]
    snapshots: list[JoinSnapshot | None] = [None] * len(ids)
    for index, status, *columns in await connection.fetch(_FIND, ids, locks, phone_policies):
        snapshots[index] = JoinSnapshot(Status(status), *columns)
    return snapshots


async def record_joins(
    connection: asyncpg.Connection, records: Sequence[JoinRecord], *, is_durable: bool
) -> dict[int, datetime | None]:
    """Append or count the records. Return the index of each that was, with the end of its address's lockout, if any.

    A record is left out if it is held back, or if its candidate has changed or is being changed. An address that is
    locked out is counted as `too_many_tries` instead. The limits count every try that committed before this statement.
    A record that is not durable may be lost if Postgres crashes within the next second (docs/decisions/0009).
    """
    if not records:
        return {}
    commit = "on" if is_durable else "off"
    limits = (TRIES_WINDOW, TRIES_IN_ALL_WINDOW, KNOWN_FOR)
    return dict(await connection.fetch(RECORD, *zip(*records, strict=True), commit, *limits))


async def count_wrong_tries(connection: asyncpg.Connection, tries: Sequence[JoinRecord]) -> None:
    """Count the tries, in the transaction that holds the locks, and delete those too old to count. Always durable."""
    if tries:
        columns = ([each.interview_id for each in tries], [each.at for each in tries], [each.address for each in tries])
        await connection.execute(_COUNT, *columns, TRIES_IN_ALL_WINDOW)

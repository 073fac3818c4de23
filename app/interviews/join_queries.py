"""The statements of a join, each for many joins at once: find their seats, and record how they are answered.

None waits for a lock of anybody: what would have to wait is left out, and the caller learns of it. They are run by
asyncpg itself: SQLAlchemy takes longer over a statement than Postgres does over these.
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

TRIES = 5  # of one address, within
TRIES_WITHIN = timedelta(minutes=10)
TRIES_IN_ALL = 50  # of all addresses, within
TRIES_IN_ALL_WITHIN = timedelta(hours=1)
REMEMBERED = timedelta(hours=24)  # an address that was let in is not kept out by what others try

# A lock that is NULL is not asked for. An organization without a policy of its own has ''.
_FIND = """
    SELECT asked.place - 1 AS place, i.status, i.id, i.candidate_id, i.application_id, i.job_post_id,
        i.participant_name, i.phone_number, i.job_title, i.company_name, i.instructions, i.max_duration, i.attempt,
        i.opens_at, i.invite_hash, i.invite_expires_at, i.personal_data_erased_at IS NOT NULL AS is_erased,
        coalesce(o.join_policy, '') AS join_policy,
        CASE WHEN asked.tries_lock IS NOT NULL AND coalesce(o.join_policy, '') = ANY ($3)
            THEN pg_try_advisory_xact_lock(asked.tries_lock) ELSE false END AS has_tries_lock
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS asked (id, tries_lock, place)
    JOIN interviews i ON i.id = asked.id
    JOIN organizations o ON o.id = i.organization_id
"""

# MATERIALIZED: what is inlined is worked out once for each place that names it.
# FOR KEY SHARE holds off who edits or erases the candidate, whose identity is in the token; a new row takes it anyway.
RECORD = f"""
    WITH held AS MATERIALIZED (
        SELECT given.*, set_config('synchronous_commit', $9, true)
        FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::bytea[], $7::bool[],
                $8::bool[]) WITH ORDINALITY
            AS given (interview_id, candidate_id, attempt, at, answer, address, is_limited, is_held_back, place)
        JOIN interviews i ON i.id = given.interview_id AND i.candidate_id = given.candidate_id
            AND i.personal_data_erased_at IS NULL
        FOR KEY SHARE OF i SKIP LOCKED
    ), limited AS MATERIALIZED (
        SELECT held.*, CASE WHEN is_limited THEN greatest(
            $10::interval + (
                SELECT t.at FROM wrong_tries t WHERE t.interview_id = held.interview_id AND t.address = held.address
                ORDER BY t.at DESC OFFSET {TRIES - 1} LIMIT 1
            ),
            $11::interval + (
                SELECT t.at FROM wrong_tries t WHERE t.interview_id = held.interview_id AND NOT EXISTS (
                    SELECT FROM join_requests r WHERE r.interview_id = held.interview_id AND r.address = held.address
                        AND r.answer = '{TOKEN_ISSUED}' AND r.at > held.at - $12::interval
                )
                ORDER BY t.at DESC OFFSET {TRIES_IN_ALL - 1} LIMIT 1
            )
        ) END AS locked_until
        FROM held
    ), told AS (
        SELECT place, interview_id, attempt, at, address, locked_until,
            CASE WHEN locked_until > at THEN '{TooManyTries.code}' ELSE answer END AS answer
        FROM limited WHERE locked_until > at OR NOT is_held_back
    ), appended AS (
        INSERT INTO join_requests (interview_id, attempt, at, answer, address)
        SELECT interview_id, attempt, at, answer, address FROM told
    )
    SELECT place - 1 AS place, CASE WHEN locked_until > at THEN locked_until END AS locked_until FROM told
"""  # noqa: S608 - of constants alone

_COUNT = """
    WITH wrong AS (
        SELECT wrong.*, set_config('synchronous_commit', 'on', true)
        FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[]) AS wrong (interview_id, at, address)
    ), forgotten AS (
        DELETE FROM wrong_tries t USING wrong WHERE t.interview_id = wrong.interview_id
            AND t.at <= wrong.at - $4::interval
    )
    INSERT INTO wrong_tries (interview_id, at, address) SELECT interview_id, at, address FROM wrong
"""


class JoinSnapshot(NamedTuple):
    """All that join needs of an interview. `join_policy` is its organization's own, or empty."""

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
    has_tries_lock: bool
    """Whether no other try of this interview is under way, until this transaction ends."""

    @property
    def candidate_identity(self) -> str:
        return f"candidate-{self.candidate_id}"

    @property
    def room_name(self) -> str:
        return room_name(self.id, self.attempt)


class JoinRecord(NamedTuple):
    """How a join is answered: TOKEN_ISSUED or an error's code."""

    interview_id: uuid.UUID
    candidate_id: str
    attempt: int
    at: datetime
    answer: str
    address: bytes | None
    counts_as_try: bool
    is_held_back: bool
    """Whether it is recorded only if the limits turn it into `too_many_tries`."""


class StoredJoin(NamedTuple):
    """An answer that was recorded; as `too_many_tries` instead, if its address is locked out until then."""

    locked_until: datetime | None


def tries_lock(interview_id: uuid.UUID) -> int:
    """Return the key of the advisory lock that tries of what can be guessed take, one after the other."""
    return int.from_bytes(hashlib.sha256(b"tries" + interview_id.bytes).digest()[:8], signed=True)


async def load_join_snapshots(
    connection: asyncpg.Connection, *, ids: Sequence[uuid.UUID], trying: Collection[int], by_phone: Sequence[str]
) -> list[JoinSnapshot | None]:
    """Return the seat of each interview, None where there is no such interview.

    `trying` are the places of those who say a phone number. Where the organization's policy is one of `by_phone` they
    get the lock of the interview's tries along, if it is free: at most one of an interview.
    """
    locks: dict[uuid.UUID, int] = {}
    asked = [
        tries_lock(id_) if place in trying and locks.setdefault(id_, place) == place else None
        for place, id_ in enumerate(ids)
    ]
    found: list[JoinSnapshot | None] = [None] * len(ids)
    for place, status, *columns in await connection.fetch(_FIND, ids, asked, by_phone):
        found[place] = JoinSnapshot(Status(status), *columns)
    return found


async def record_joins(
    connection: asyncpg.Connection, records: Sequence[JoinRecord], *, is_durable: bool
) -> list[StoredJoin | None]:
    """Append the answers. Return None for each that was not: it was held back, or its candidate was changed, or is.

    The limits are looked at by this statement, so it sees each try that was over before it. An answer that is not
    durable may be lost if Postgres crashes within the next second (docs/decisions/0009).
    """
    if not records:
        return []
    recorded: list[StoredJoin | None] = [None] * len(records)
    commit = "on" if is_durable else "off"
    limits = (TRIES_WITHIN, TRIES_IN_ALL_WITHIN, REMEMBERED)
    for place, locked_until in await connection.fetch(RECORD, *zip(*records, strict=True), commit, *limits):
        recorded[place] = StoredJoin(locked_until)
    return recorded


async def count_wrong_tries(connection: asyncpg.Connection, tries: Sequence[JoinRecord]) -> None:
    """Count the tries, in the transaction that holds the locks; what is too old to count is forgotten.

    Durably, whatever the answers were recorded with.
    """
    if tries:
        columns = ([each.interview_id for each in tries], [each.at for each in tries], [each.address for each in tries])
        await connection.execute(_COUNT, *columns, TRIES_IN_ALL_WITHIN)

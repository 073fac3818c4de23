"""The transcript: what agent and candidate said, line by line, stored while the interview runs."""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.database import raw_connection
from app.core.errors import (
    CursorInvalid,
    InterviewErased,
    InterviewNotFound,
    InterviewOver,
    TranscriptFull,
    WrongRoom,
)
from app.core.pagination import Page, decode_text, encode_text
from app.interviews.changes import NewChange, count_unmoved, record_changes
from app.interviews.interview_rows import AnyInterview, InterviewRow, lock_row, store_rows
from app.livekit.rooms import parse_room_name
from app.models import ChangeType, Interview, TranscriptLine

MAX_LINES = 20_000  # of an attempt: four hours of talk have some 5,000

# Lines that are stored already are skipped. Run after the interview was locked, it sees all lines before its own.
_LINES = """
    given AS (
        SELECT DISTINCT ON (line_id) line_id, speaker, text, said_at, place
        FROM unnest($4::text[], $5::text[], $6::text[], $7::timestamptz[]) WITH ORDINALITY
            AS row (line_id, speaker, text, said_at, place)
        ORDER BY line_id, place
    ), new AS (
        SELECT given.*, row_number() OVER (ORDER BY place) AS number FROM given
        WHERE NOT EXISTS (
            SELECT FROM transcript_lines old
            WHERE old.interview_id = $1 AND old.attempt = $2 AND old.agent = $3 AND old.line_id = given.line_id
        )
    ), total AS (
        SELECT
            coalesce((SELECT max(position) FROM transcript_lines WHERE interview_id = $1 AND attempt = $2), 0) AS last,
            (SELECT count(*) FROM new) AS added
    )
"""
_INSERT = """
    INSERT INTO transcript_lines (interview_id, attempt, position, agent, line_id, speaker, text, said_at)
    SELECT $1, $2, last + number, $3, line_id, speaker, text, said_at
"""
_APPEND = f"""
    WITH {_LINES}, stored AS ({_INSERT} FROM new, total WHERE last + added <= $8)
    SELECT last, added FROM total
"""  # noqa: S608 - our own text
# The same in one statement that locks the live interview, too. If it had to wait for the lock, it has not seen what was
# stored meanwhile: it then gives a position or an id again, and a unique constraint refuses all of it.
_APPEND_AT_ONCE = f"""
    WITH live AS (
        SELECT FROM interviews
        WHERE id = $1 AND attempt = $2 AND organization_id = $9 AND ended_at IS NULL AND personal_data_erased_at IS NULL
        FOR NO KEY UPDATE
    ), {_LINES}, stored AS ({_INSERT} FROM live, new, total WHERE last + added <= $8)
    SELECT last, added FROM live, total
"""  # noqa: S608 - our own text
_END_OF_ATTEMPT = """
    SELECT max((detail->>'endedAt')::timestamptz) FROM timeline
    WHERE interview_id = $1 AND attempt = $2 AND kind = 'status'
"""
_WITH_LINES = """
    SELECT row.interview_id FROM unnest($1::uuid[], $2::bigint[]) AS row (interview_id, attempt)
    WHERE EXISTS (
        SELECT FROM transcript_lines line WHERE line.interview_id = row.interview_id AND line.attempt = row.attempt
    )
"""


class SpokenLine(NamedTuple):
    """A line as the agent sends it."""

    id: str
    speaker: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AppendCommand:
    """A call that appends lines."""

    organization_id: uuid.UUID
    interview_id: uuid.UUID
    room_name: str
    agent: str
    lines: Sequence[SpokenLine]

    def values(self, attempt: int) -> tuple[object, ...]:
        """Return the values of the statements, which both have in common."""
        return self.interview_id, attempt, self.agent, *zip(*self.lines, strict=True), MAX_LINES


@dataclass(frozen=True, slots=True)
class Appended:
    """How many lines were new, and the position of the attempt's last line."""

    stored: int
    position: int


async def append_lines(
    sessions: async_sessionmaker[AsyncSession], command: AppendCommand, *, now: datetime, late: timedelta
) -> Appended:
    """Append lines to the transcript of the room's attempt. Lines with a known id are skipped.

    They are taken until `late` after the attempt's end, even if the next attempt is open by then. Raises
    InterviewNotFound, InterviewErased, WrongRoom, InterviewOver, TranscriptFull, DatabaseUnavailable.
    """
    with suppress(asyncpg.UniqueViolationError):  # somebody else's call came first
        async with raw_connection(sessions) as connection:
            if appended := await _append_at_once(connection, command):
                return appended
    async with raw_connection(sessions, transaction=True) as connection:
        return await _append_locked(connection, command, now=now, late=late)


async def _append_at_once(connection: asyncpg.Connection, command: AppendCommand) -> Appended | None:
    """Append lines if the interview's attempt with this room is live; else return None. Raises TranscriptFull."""
    room = parse_room_name(command.room_name)
    if room is None or room.interview_id != command.interview_id:
        return None
    values = command.values(room.attempt)
    row = await connection.fetchrow(_APPEND_AT_ONCE, *values, command.organization_id)
    return _appended(row) if row else None


async def _append_locked(
    connection: asyncpg.Connection, command: AppendCommand, *, now: datetime, late: timedelta
) -> Appended:
    interview = await lock_row(connection, command.interview_id, organization_id=command.organization_id)
    if interview is None:
        raise InterviewNotFound
    if interview.personal_data_erased_at:
        raise InterviewErased
    attempt, ended_at = await _attempt_in(connection, interview, command.room_name)
    if ended_at and now > ended_at + late:
        if attempt != interview.attempt:
            raise WrongRoom(roomName=interview.room_name)
        raise InterviewOver("It ended too long ago for lines to be added.", interviewStatus=interview.status)
    appended = _appended(await connection.fetchrow(_APPEND, *command.values(attempt)))
    if appended.stored and ended_at:  # whoever read it at the end has to read on
        change = count_unmoved(interview, ChangeType.TRANSCRIPT_AVAILABLE, now, attempt=attempt)
        await store_rows(connection, [interview])
        await record_changes(connection, [change])
    return appended


def _appended(row: asyncpg.Record) -> Appended:
    """Return what was stored. Raises TranscriptFull if nothing was."""
    last, added = row
    if added and last + added > MAX_LINES:
        raise TranscriptFull
    return Appended(added, last + added)


async def _attempt_in(
    connection: asyncpg.Connection, interview: InterviewRow, room_name: str
) -> tuple[int, datetime | None]:
    """Return the attempt with this room, and its end, None while it is live. Raises WrongRoom."""
    if room_name == interview.room_name:
        return interview.attempt, interview.ended_at
    room = parse_room_name(room_name)
    if room is None or room.interview_id != interview.id or room.attempt > interview.attempt:
        raise WrongRoom(roomName=interview.room_name)
    ended_at: datetime | None = await connection.fetchval(_END_OF_ATTEMPT, interview.id, room.attempt)
    if ended_at is None:
        raise WrongRoom(roomName=interview.room_name)
    return room.attempt, ended_at


async def transcript_changes(
    connection: asyncpg.Connection, ended: Sequence[AnyInterview], *, now: datetime
) -> list[NewChange]:
    """Count a change for each locked interview whose attempt has just ended with a transcript; record them last."""
    if not ended:
        return []
    ids, attempts = [each.id for each in ended], [each.attempt for each in ended]
    found = {row[0] for row in await connection.fetch(_WITH_LINES, ids, attempts)}
    return [count_unmoved(each, ChangeType.TRANSCRIPT_AVAILABLE, now) for each in ended if each.id in found]


async def count_lines(session: AsyncSession, *, interview: Interview) -> int:
    """Return how many lines the current attempt's transcript has."""
    last = select(func.max(TranscriptLine.position)).where(
        TranscriptLine.interview_id == interview.id, TranscriptLine.attempt == interview.attempt
    )
    return await session.scalar(last) or 0


async def read_transcript(
    session: AsyncSession, *, interview_id: uuid.UUID, attempt: int, after: int = 0, cursor: str | None, limit: int
) -> Page[TranscriptLine]:
    """Return a page of the attempt's lines behind the position `after`, in order. Raises CursorInvalid.

    A cursor continues in its own attempt: the current one may have changed since.
    """
    if cursor:
        attempt, after = _parse_cursor(cursor)
    line = TranscriptLine
    query = select(line).where(line.interview_id == interview_id, line.attempt == attempt, line.position > after)
    rows = (await session.scalars(query.order_by(line.position).limit(limit + 1))).all()
    return Page.of(rows, limit, lambda last: encode_text(f"{last.attempt}.{last.position}"))


def _parse_cursor(cursor: str) -> tuple[int, int]:
    try:
        attempt, position = map(int, decode_text(cursor).split("."))
    except ValueError as error:
        raise CursorInvalid from error
    if not (0 <= attempt < 2**63 and 0 <= position < 2**63):
        raise CursorInvalid
    return attempt, position


async def read_all_lines(session: AsyncSession, *, interview_id: uuid.UUID) -> Sequence[TranscriptLine]:
    """Return the lines of all attempts, in order."""
    lines = select(TranscriptLine).where(TranscriptLine.interview_id == interview_id)
    return (await session.scalars(lines.order_by(TranscriptLine.attempt, TranscriptLine.position))).all()

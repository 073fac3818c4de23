"""The transcript: what agent and candidate said, line by line, stored while the interview runs."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

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

# Under the interview's lock, so nobody else gives the same positions. Lines that are stored already are skipped.
_APPEND = """
    WITH given AS (
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
    ), stored AS (
        INSERT INTO transcript_lines (interview_id, attempt, position, agent, line_id, speaker, text, said_at)
        SELECT $1, $2, last + number, $3, line_id, speaker, text, said_at FROM new, total WHERE last + added <= $8
    )
    SELECT last, added FROM total
"""
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
class Appended:
    """How many lines were new, and the position of the attempt's last line."""

    stored: int
    position: int


async def append_lines(
    connection: asyncpg.Connection,
    *,
    organization_id: uuid.UUID,
    interview_id: uuid.UUID,
    room_name: str,
    agent: str,
    lines: Sequence[SpokenLine],
    now: datetime,
    late: timedelta,
) -> Appended:
    """Append lines to the transcript of the room's attempt, in a transaction. Lines with a known id are skipped.

    They are taken until `late` after the attempt's end, even if the next attempt is open by then. Raises
    InterviewNotFound, InterviewErased, WrongRoom, InterviewOver, TranscriptFull.
    """
    interview = await lock_row(connection, interview_id, organization_id=organization_id)
    if interview is None:
        raise InterviewNotFound
    if interview.personal_data_erased_at:
        raise InterviewErased
    attempt, ended_at = await _attempt_in(connection, interview, room_name)
    if ended_at and now > ended_at + late:
        if attempt != interview.attempt:
            raise WrongRoom(roomName=interview.room_name)
        raise InterviewOver("It ended too long ago for lines to be added.", interviewStatus=interview.status)
    columns = zip(*lines, strict=True)
    last, added = await connection.fetchrow(_APPEND, interview.id, attempt, agent, *columns, MAX_LINES)
    if added and last + added > MAX_LINES:
        raise TranscriptFull
    if added and ended_at:  # whoever read it at the end has to read on
        change = count_unmoved(interview, ChangeType.TRANSCRIPT_AVAILABLE, now, attempt=attempt)
        await store_rows(connection, [interview])
        await record_changes(connection, [change])
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

"""The transcript: what agent and candidate said, line by line, readable while the interview runs."""

import uuid
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import CursorInvalid
from app.core.pagination import Page, decode_text, encode_text
from app.interviews.changes import NewChange, count_unmoved
from app.interviews.interview_rows import AnyInterview
from app.models import ChangeType, Interview, TranscriptLine

_WITH_LINES = """
    SELECT row.interview_id FROM unnest($1::uuid[], $2::bigint[]) AS row (interview_id, attempt)
    WHERE EXISTS (
        SELECT FROM transcript_lines line WHERE line.interview_id = row.interview_id AND line.attempt = row.attempt
    )
"""


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

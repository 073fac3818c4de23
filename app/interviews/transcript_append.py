"""Appending to transcripts. Agents do it with each sentence, so concurrent calls share a statement and a commit."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.batching import Batcher, Deferred
from app.core.database import is_per_item, raw_connection
from app.core.errors import InterviewOver, TranscriptFull, WrongRoom
from app.interviews.changes import count_unmoved, record_changes
from app.interviews.interview_rows import InterviewRow, lock_owned_row, store_rows
from app.livekit.rooms import parse_room_name
from app.models import ChangeType

log = logging.getLogger(__name__)

MAX_LINES = 20_000  # of an attempt: four hours of talk have some 5,000
MAX_BATCH = 32  # calls
WAITING_CONCURRENCY = 2  # connections, for calls that wait for a lock, and for those after an attempt's end

# Positions are given under the interview's lock. Whoever had it until a moment ago may have stored lines that this
# statement does not see: then it gives a position again, or an id, and a unique constraint refuses the whole of it.
_APPEND = """
    WITH item AS (
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[])
            AS row (item, interview_id, attempt, organization_id, agent)
    ), locked AS ({locked}), given AS (
        SELECT DISTINCT ON (item, line_id) item, line_id, speaker, text, said_at, place
        FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::timestamptz[]) WITH ORDINALITY
            AS row (item, line_id, speaker, text, said_at, place)
        ORDER BY item, line_id, place
    ), new AS (
        SELECT *, row_number() OVER (PARTITION BY item ORDER BY place) AS number FROM locked JOIN given USING (item)
        WHERE NOT EXISTS (
            SELECT FROM transcript_lines old
            WHERE old.interview_id = locked.interview_id AND old.attempt = locked.attempt
                AND old.agent = locked.agent AND old.line_id = given.line_id
        )
    ), total AS (
        SELECT item,
            coalesce((
                SELECT max(position) FROM transcript_lines line
                WHERE line.interview_id = locked.interview_id AND line.attempt = locked.attempt
            ), 0) AS last,
            (SELECT count(*) FROM new WHERE new.item = locked.item) AS added
        FROM locked
    ), stored AS (
        INSERT INTO transcript_lines (interview_id, attempt, position, agent, line_id, speaker, text, said_at)
        SELECT interview_id, attempt, last + number, agent, line_id, speaker, text, said_at
        FROM new JOIN total USING (item) WHERE last + added <= $11
    )
    SELECT item, last, added FROM total
"""
# A batch that waits for one interview would hold up the others.
_LOCK_LIVE = """
    SELECT item.* FROM item JOIN interviews live ON live.id = item.interview_id AND live.attempt = item.attempt
    WHERE live.organization_id = item.organization_id
        AND live.ended_at IS NULL AND live.personal_data_erased_at IS NULL
    FOR NO KEY UPDATE OF live SKIP LOCKED
"""
_APPEND_LIVE = _APPEND.format(locked=_LOCK_LIVE)
_APPEND_LOCKED = _APPEND.format(locked="SELECT * FROM item")
_END_OF_ATTEMPT = """
    SELECT max((detail->>'endedAt')::timestamptz) FROM timeline
    WHERE interview_id = $1 AND attempt = $2 AND kind = 'status'
"""


class SpokenLine(NamedTuple):
    """A line as the agent sends it."""

    id: str
    speaker: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AppendCommand:
    """A call that appends lines to the transcript of a room's attempt."""

    organization_id: uuid.UUID
    interview_id: uuid.UUID
    room_name: str
    agent: str
    lines: Sequence[SpokenLine]
    now: datetime

    @property
    def attempt(self) -> int:
        """The attempt with this room, 0 for any room but the interview's own."""
        room = parse_room_name(self.room_name)
        return room.attempt if room and room.interview_id == self.interview_id else 0


@dataclass(frozen=True, slots=True)
class Appended:
    """How many lines were new, and the position of the attempt's last line."""

    stored: int
    position: int


def append_batcher(sessions: async_sessionmaker[AsyncSession], *, late: timedelta) -> Batcher[AppendCommand, Appended]:
    """Return the function that appends lines. Lines whose id is stored already are skipped.

    They are taken until `late` after the attempt's end, even if the next attempt is open by then. Raises
    InterviewNotFound, InterviewErased, WrongRoom, InterviewOver, TranscriptFull, DatabaseUnavailable.
    """

    async def append_alone(commands: Sequence[AppendCommand]) -> Sequence[Appended | Exception]:
        (command,) = commands
        async with raw_connection(sessions, transaction=True) as connection:
            return [await _append_locked(connection, command, late=late)]

    async def append_batch(
        commands: Sequence[AppendCommand],
    ) -> Sequence[Appended | Exception | Deferred[Appended]]:
        found: dict[int, Appended | Exception] = {}
        try:
            async with raw_connection(sessions) as connection:
                found = await _append(connection, _APPEND_LIVE, commands)
        except Exception as error:
            if not is_per_item(error):
                raise
            log.debug("a batch of %d appends failed, each is tried alone", len(commands), exc_info=True)
        return [found.get(item) or Deferred(partial(one_by_one, each)) for item, each in enumerate(commands)]

    one_by_one = Batcher(append_alone, max_batch=1, concurrency=WAITING_CONCURRENCY)
    return Batcher(append_batch, max_batch=MAX_BATCH, concurrency=1, key=lambda command: command.interview_id)


async def _append(
    connection: asyncpg.Connection, statement: str, commands: Sequence[AppendCommand]
) -> dict[int, Appended | Exception]:
    """Append the lines of all whose interview the statement locks; return the results by their index."""
    items = [
        (item, each.interview_id, each.attempt, each.organization_id, each.agent) for item, each in enumerate(commands)
    ]
    lines = [(item, *line) for item, each in enumerate(commands) for line in each.lines]
    columns = (*zip(*items, strict=True), *zip(*lines, strict=True))
    rows = await connection.fetch(statement, *columns, MAX_LINES)
    return {
        item: TranscriptFull() if added and last + added > MAX_LINES else Appended(added, last + added)
        for item, last, added in rows
    }


async def _append_locked(
    connection: asyncpg.Connection, command: AppendCommand, *, late: timedelta
) -> Appended | Exception:
    """Wait for the interview's lock, and append. Raises what is wrong with the call."""
    interview = await lock_owned_row(connection, command.interview_id, organization_id=command.organization_id)
    ended_at = await _end_of(connection, interview, command.attempt)
    if ended_at and command.now > ended_at + late:
        if command.attempt != interview.attempt:
            raise WrongRoom(roomName=interview.room_name)
        raise InterviewOver("It ended too long ago for lines to be added.", interviewStatus=interview.status)
    appended = (await _append(connection, _APPEND_LOCKED, [command]))[0]
    if ended_at and isinstance(appended, Appended) and appended.stored:  # whoever read it at the end has to read on
        change = count_unmoved(interview, ChangeType.TRANSCRIPT_AVAILABLE, command.now, attempt=command.attempt)
        await store_rows(connection, [interview])
        await record_changes(connection, [change])
    return appended


async def _end_of(connection: asyncpg.Connection, interview: InterviewRow, attempt: int) -> datetime | None:
    """Return the end of the attempt, None while it is live. Raises WrongRoom if there was no such attempt."""
    if attempt == interview.attempt:
        return interview.ended_at
    ended_at: datetime | None = await connection.fetchval(_END_OF_ATTEMPT, interview.id, attempt)
    if ended_at is None:
        raise WrongRoom(roomName=interview.room_name)
    return ended_at

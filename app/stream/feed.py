"""The feed of changes: in an order in which none comes late, so that a position is all that a reader must remember.

Ids alone are not in the order of the commits: a change with a lower id may be committed after one with a higher id was
read. Below the oldest transaction that is still open nothing can be added any more, so only that far is read.
"""

import re
import uuid
from typing import NamedTuple, Self

from sqlalchemy import BigInteger, Text, cast, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import CursorInvalid
from app.models import Change

LARGEST = 2**63 - 1
SNAPSHOT = func.pg_current_snapshot()
OPEN_FROM = cast(cast(func.pg_snapshot_xmin(SNAPSHOT), Text), BigInteger)
NOT_YET_BEGUN = cast(cast(func.pg_snapshot_xmax(SNAPSHOT), Text), BigInteger)

# One look at the index for each organization, as this is asked at every start.
IS_RESTORED = text(
    """
    SELECT EXISTS (
        SELECT FROM organizations o, LATERAL (
            SELECT c.xid FROM changes c WHERE c.organization_id = o.id ORDER BY c.xid DESC, c.id DESC LIMIT 1
        ) AS newest
        WHERE newest.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    )
    """
)
# Their ids keep each interview's order. What has come since has higher ids, and stays as it is.
RENUMBER = text(
    """
    UPDATE changes SET xid = 0
    WHERE id <= (SELECT max(id) FROM changes WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    """
)

MALFORMED = "Send the id of the last event as it was, or none to begin with what changes from now on."
NOT_OURS = (
    "This position is not of this database, which was perhaps restored from a backup: list the interviews again, and "
    "send no position, to begin with what changes from now on."
)


class Position(NamedTuple):
    """A place in the feed: that of the change that was read last. As text it is the id of a server-sent event."""

    xid: int
    id: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"

    @classmethod
    def of(cls, change: Change) -> Self:
        return cls(change.xid, change.id)

    @classmethod
    def parse(cls, given: str) -> Self:
        """Return the position that was written so. Raises CursorInvalid."""
        match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})", given)
        if match is None or max(map(int, match.groups())) > LARGEST:
            raise CursorInvalid(MALFORMED)
        return cls(int(match[1]), int(match[2]))


async def read_feed(
    session: AsyncSession, *, organization_id: uuid.UUID, after: Position | None, limit: int
) -> list[Change]:
    """Return the organization's next changes, `limit` at most, in the order of their positions. None: from the first.

    A change is held back until every transaction that began to write before its own is over.
    """
    query = select(Change).where(Change.organization_id == organization_id, Change.xid < OPEN_FROM)
    if after:
        query = query.where(tuple_(Change.xid, Change.id) > tuple_(*after))
    return list((await session.scalars(query.order_by(Change.xid, Change.id).limit(limit))).all())


async def feed_end(session: AsyncSession) -> Position:
    """Return the position to begin at from now on: what nobody can have read yet comes after it, and nothing else."""
    return Position((await session.execute(select(OPEN_FROM))).scalar_one(), 0)


async def is_held_back(session: AsyncSession, *, organization_id: uuid.UUID) -> bool:
    """Tell whether a change of the organization is committed, but behind a transaction that is still open."""
    held = select(Change.id).where(Change.organization_id == organization_id, Change.xid >= OPEN_FROM)
    return bool(await session.scalar(select(held.exists())))


async def starting_point(session: AsyncSession, *, last_event_id: str | None) -> Position:
    """Return the position that a reader goes on from; without one, or with an empty one, that of now.

    Raises CursorInvalid.
    """
    if not last_event_id:
        return await feed_end(session)
    position = Position.parse(last_event_id)
    await check_position(session, position)
    return position


async def check_position(session: AsyncSession, position: Position) -> None:
    """Raise CursorInvalid for a position that this database has not reached: changes would be skipped up to there."""
    if position.xid > (await session.execute(select(NOT_YET_BEGUN))).scalar_one():
        raise CursorInvalid(NOT_OURS)


async def renumber_restored(session: AsyncSession) -> bool:
    """Tell whether the changes came by a dump from another server, and put them before all that this one will add.

    Its transactions are counted anew: the changes would be hidden until it has counted as far as the other one had.
    """
    if not await session.scalar(IS_RESTORED):
        return False
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await session.execute(RENUMBER)
    return True

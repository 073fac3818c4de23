"""The feed of changes: in an order in which none comes late, so that a position is all that a reader must remember.

Ids alone are not in the order of the commits: a change with a lower id may be committed after one with a higher id was
read. Below the oldest transaction that is still open nothing can be added any more, so only that far is read.
"""

import re
import uuid
from typing import NamedTuple, Self

from sqlalchemy import BigInteger, Text, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import CursorInvalid
from app.models import Change

LARGEST = 2**63 - 1
SNAPSHOT = func.pg_current_snapshot()
OPEN_FROM = cast(cast(func.pg_snapshot_xmin(SNAPSHOT), Text), BigInteger)
NOT_YET_BEGUN = cast(cast(func.pg_snapshot_xmax(SNAPSHOT), Text), BigInteger)

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


async def check_position(session: AsyncSession, position: Position) -> None:
    """Raise CursorInvalid for a position that this database has not reached: changes would be skipped up to there."""
    if position.xid > (await session.execute(select(NOT_YET_BEGUN))).scalar_one():
        raise CursorInvalid(NOT_OURS)

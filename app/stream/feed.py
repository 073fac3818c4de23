"""The feed of changes, in an order in which none is added behind a reader's position.

Ids alone are not in the order of the commits: a change with a lower id may be committed after one with a higher id was
read. So the order is (xid, id), and the feed ends before the oldest open transaction.
"""

import re
import uuid
from typing import NamedTuple, Self

from sqlalchemy import BigInteger, Text, cast, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import CursorInvalid
from app.models import Change

MAX_BIGINT = 2**63 - 1
_SNAPSHOT = func.pg_current_snapshot()
OLDEST_OPEN_XID = cast(cast(func.pg_snapshot_xmin(_SNAPSHOT), Text), BigInteger)
NEXT_XID = cast(cast(func.pg_snapshot_xmax(_SNAPSHOT), Text), BigInteger)

# One index lookup per organization, as this runs at every start.
HAS_FUTURE_XID = text("""
    SELECT EXISTS (
        SELECT FROM organizations o, LATERAL (
            SELECT c.xid FROM changes c WHERE c.organization_id = o.id ORDER BY c.xid DESC, c.id DESC LIMIT 1
        ) AS newest
        WHERE newest.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    )
    """)
# Their ids keep each interview's order. Changes added since the restore have higher ids and are not touched.
RENUMBER = text("""
    UPDATE changes SET xid = 0
    WHERE id <= (SELECT max(id) FROM changes WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
    """)

UNKNOWN_POSITION = (
    "This database has not reached the position. It may have been restored from a backup: list the interviews again, "
    "and send no position, to begin with what changes from now on."
)


class Position(NamedTuple):
    """The position in the feed of the last change that was read. As text it is the id of a server-sent event."""

    xid: int
    id: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"

    @classmethod
    def of(cls, change: Change) -> Self:
        return cls(change.xid, change.id)

    @classmethod
    def parse(cls, value: str) -> Self:
        """Return the position of a text. Raises CursorInvalid."""
        match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})", value)
        if match is None or max(map(int, match.groups())) > MAX_BIGINT:
            raise CursorInvalid(
                "Send the id of the last event unchanged, or no id, to begin with what changes from now on."
            )
        return cls(int(match[1]), int(match[2]))


async def read_feed(
    session: AsyncSession, *, organization_id: uuid.UUID, after: Position | None, limit: int
) -> list[Change]:
    """Return up to `limit` of the organization's changes after a position (None: from the first), in feed order.

    A change is held back until all transactions that started to write before its own have ended.
    """
    query = select(Change).where(Change.organization_id == organization_id, Change.xid < OLDEST_OPEN_XID)
    if after:
        query = query.where(tuple_(Change.xid, Change.id) > tuple_(*after))
    return list((await session.scalars(query.order_by(Change.xid, Change.id).limit(limit))).all())


async def feed_end(session: AsyncSession) -> Position:
    """Return the position from which a reader gets exactly the changes that nobody can have read yet."""
    return Position((await session.execute(select(OLDEST_OPEN_XID))).scalar_one(), 0)


async def is_held_back(session: AsyncSession, *, organization_id: uuid.UUID) -> bool:
    """Return whether a committed change of the organization waits for an open transaction."""
    held = select(Change.id).where(Change.organization_id == organization_id, Change.xid >= OLDEST_OPEN_XID)
    return bool(await session.scalar(select(held.exists())))


async def starting_point(session: AsyncSession, *, last_event_id: str | None) -> Position:
    """Return the position to read from: that of the event, or the end of the feed. Raises CursorInvalid."""
    if not last_event_id:
        return await feed_end(session)
    position = Position.parse(last_event_id)
    await check_position(session, position)
    return position


async def check_position(session: AsyncSession, position: Position) -> None:
    """Raise CursorInvalid for a position that this database has not reached: the changes before it would be skipped."""
    if position.xid > (await session.execute(select(NEXT_XID))).scalar_one():
        raise CursorInvalid(UNKNOWN_POSITION)


async def renumber_restored(session: AsyncSession) -> bool:
    """Put changes restored from another server's dump before all that this one will add. Return whether there were any.

    A new server starts with low transaction ids: without this, restored changes would be held back for years.
    """
    if not await session.scalar(HAS_FUTURE_XID):
        return False
    await session.execute(text("SET LOCAL statement_timeout = 0"))
    await session.execute(RENUMBER)
    return True

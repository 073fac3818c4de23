"""Counts of refused joins: written by a join's own statement, shown on the timeline, deleted here."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

KEPT_FOR = timedelta(days=30)
PRUNED_AT_ONCE = 1000  # counts

PRUNE = text("""
    WITH pruned AS (
        DELETE FROM refused_joins WHERE id IN (
            SELECT id FROM refused_joins WHERE minute <= :before ORDER BY minute LIMIT :limit
        )
        RETURNING 1
    )
    SELECT count(*) FROM pruned
    """)


async def prune_refused_joins(session: AsyncSession, *, now: datetime) -> bool:
    """Delete counts that are older than KEPT_FOR. Return whether there may be more of them."""
    pruned: int | None = await session.scalar(PRUNE, {"before": now - KEPT_FOR, "limit": PRUNED_AT_ONCE})
    return pruned == PRUNED_AT_ONCE

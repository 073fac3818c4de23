"""The hourly task: counts of refused joins are deleted after thirty days."""

from sqlalchemy import func, select, text

from app.interviews.refused_joins import PRUNED_AT_ONCE
from app.models import RefusedJoins, Tick
from app.worker.scheduler import prune_counts_of_refused_joins
from tests.worker.world import World


async def test_old_counts_are_deleted_and_no_others(world: World) -> None:
    fill = text(
        "INSERT INTO refused_joins (interview_id, attempt, minute, answer, number) "
        "SELECT i.id, 1, now() - make_interval(days => :days, mins => n), 'too_early', 1 "
        "FROM (SELECT id FROM interviews LIMIT 1) i, generate_series(1, :many) n"
    )
    await world.new()
    async with world.sessions.begin() as session:
        await session.execute(fill, {"days": 30, "many": PRUNED_AT_ONCE + 1})
        await session.execute(fill, {"days": 29, "many": 2})
    await prune_counts_of_refused_joins(world.context)
    async with world.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(RefusedJoins)) == 2
        assert await session.get(Tick, "prune_refused_joins")

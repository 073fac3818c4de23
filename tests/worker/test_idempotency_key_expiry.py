"""The hourly task: answers kept for an Idempotency-Key are deleted after a day."""

from sqlalchemy import func, select, text

from app.auth.idempotency_keys import MOST_FORGOTTEN
from app.models import IdempotencyKey, Tick
from app.worker.scheduler import expire_idempotency_keys
from tests.worker.world import World

FILL = text(
    "INSERT INTO idempotency_keys (organization_id, key, fingerprint, status, headers, body, created_at) "
    "SELECT id, :name || n, '', 200, '{}', '', now() - make_interval(hours => :hours) "
    "FROM organizations, generate_series(1, :many) n"
)


async def test_expired_answers_are_deleted_and_no_others(world: World) -> None:
    async with world.sessions.begin() as session:
        await session.execute(FILL, {"name": "old", "hours": 25, "many": MOST_FORGOTTEN + 1})
        await session.execute(FILL, {"name": "new", "hours": 23, "many": 2})
    await expire_idempotency_keys(world.context)
    async with world.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(IdempotencyKey)) == 2
        assert await session.get(Tick, "forget")

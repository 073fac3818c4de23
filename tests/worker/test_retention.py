"""Retention: the worker erases personal data so many days after the end, once over all workers, by an index."""

import uuid
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.idempotency_keys import rewrite_answers
from app.core import metrics
from app.core.errors import DatabaseUnavailable
from app.interviews import erasure
from app.interviews.erasure import find_overdue
from app.interviews.schedule import ensure_default_organization
from app.lifecycle import Status
from app.models import Interview, Tick, TimelineEntry
from app.worker import WorkerContext, scheduler
from app.worker.scheduler import EraseOverdue
from tests.conftest import make_settings
from tests.e2e.conditions import eventually
from tests.explained import NOW, fill, plan_of
from tests.worker.test_audit import cancelled
from tests.worker.test_audit import found as differences
from tests.worker.test_scheduler import running_workers
from tests.worker.world import World, ago

DAY = 24 * 3600


def keeping(world: World, days: int | None) -> WorkerContext:
    return replace(world.context, retention=None if days is None else timedelta(days=days))


async def over(world: World, *, days: float) -> uuid.UUID:
    """An interview that was cancelled so long ago."""
    interview_id = await world.new(since=days * DAY + 100)
    await world.cancels(interview_id, before=days * DAY)
    return interview_id


async def erased(world: World) -> set[uuid.UUID]:
    async with world.sessions() as session:
        return set(await session.scalars(select(Interview.id).where(Interview.personal_data_erased_at.is_not(None))))


async def test_what_was_over_for_so_long_is_erased_and_nothing_else(world: World) -> None:
    old, young, live = await over(world, days=30.01), await over(world, days=29.99), await world.new(since=90 * DAY)
    before = metrics.PERSONAL_DATA_ERASED.labels(why="retention")._value.get()  # noqa: SLF001 - it has no other way
    await EraseOverdue()(keeping(world, 30))
    assert await erased(world) == {old}
    assert (await world.row(old)).phone_number == ""
    assert (await world.row(young)).phone_number == (await world.row(live)).phone_number == "966509876543"
    assert await world.names(old, "service") == ["personal_data_erased"]
    assert metrics.PERSONAL_DATA_ERASED.labels(why="retention")._value.get() == before + 1  # noqa: SLF001
    assert await differences(world) == []
    await EraseOverdue()(keeping(world, 30))
    assert await world.names(old, "service") == ["personal_data_erased"]


async def test_without_a_retention_it_is_kept_for_ever(world: World) -> None:
    await over(world, days=36_000)
    await EraseOverdue()(keeping(world, None))
    assert await erased(world) == set()


@pytest.mark.parametrize(("given", "kept"), [(None, None), (30, timedelta(days=30))])
def test_the_setting(given: int | None, kept: timedelta | None) -> None:
    assert make_settings(personal_data_retention_days=given).retention == kept


async def test_one_that_was_reopened_meanwhile_is_kept(world: World) -> None:
    interview_id = await over(world, days=40)
    before = ago(30 * DAY)
    async with world.sessions.begin() as session:
        assert [each.id for each in await find_overdue(session, before=before, limit=10)] == [interview_id]
    await world.reopens(interview_id)
    async with world.sessions.begin() as session:
        await erasure.erase_overdue(session, interview_id=interview_id, before=before, now=ago(0))
    assert await erased(world) == set()
    assert (await world.row(interview_id)).status is Status.READY_TO_JOIN


async def test_a_run_takes_a_batch_longest_over_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "ERASURE_BATCH", 2)
    made = [await over(world, days=days) for days in (31, 33, 32)]
    run = EraseOverdue()
    await run(keeping(world, 30))
    assert await erased(world) == set(made[1:])
    await run(keeping(world, 30))
    assert await erased(world) == set(made)


def break_erasures(monkeypatch: pytest.MonkeyPatch, *broken: uuid.UUID, by: str) -> list[uuid.UUID]:
    """Let erasures of these fail in Postgres by the statement; return what is filled with those that were tried."""
    whole, tried = erasure.erase_overdue, list[uuid.UUID]()

    async def erase_overdue(session: AsyncSession, *, interview_id: uuid.UUID, **more: Any) -> None:
        tried.append(interview_id)
        if interview_id in broken:
            await session.execute(text("SET LOCAL statement_timeout = '50ms'"))
            await session.execute(text(by))
        await whole(session, interview_id=interview_id, **more)

    monkeypatch.setattr(scheduler, "erase_overdue", erase_overdue)
    return tried


@pytest.mark.parametrize("by", ["SELECT 1 / 0", "SELECT pg_sleep(9)"])
async def test_one_that_can_not_be_erased_does_not_keep_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    bad, good = await over(world, days=32), await over(world, days=31)
    break_erasures(monkeypatch, bad, by=by)
    await EraseOverdue()(keeping(world, 30))
    assert await erased(world) == {good}


async def test_one_whose_change_can_not_be_written_does_not_keep_the_others(world: World) -> None:
    """That statement is asyncpg's own, and so is its error."""
    bad, good = await over(world, days=32), await over(world, days=31)
    async with world.sessions.begin() as session:
        refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$"
        await session.execute(text(refuse))
        await session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON changes FOR EACH ROW "
                f"WHEN (NEW.interview_id = '{bad}') EXECUTE FUNCTION refuse()"
            )
        )
    await EraseOverdue()(keeping(world, 30))
    assert await erased(world) == {good}


async def test_a_batch_that_can_not_be_erased_does_not_keep_those_behind_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They get their turn in the runs to come, and then it is tried again."""
    monkeypatch.setattr(scheduler, "ERASURE_BATCH", 2)
    *bad, good, last = [await over(world, days=days) for days in (35, 34, 33, 32, 31)]
    tried = break_erasures(monkeypatch, *bad, by="SELECT 1 / 0")
    run = EraseOverdue()
    for _ in range(3):
        await run(keeping(world, 30))
    assert tried == [*bad, good, last]
    assert await erased(world) == {good, last}
    await run(keeping(world, 30))
    assert tried[5:] == bad[:2]


async def test_a_database_that_is_away_ends_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not tried is the next run's."""
    made = [await over(world, days=days) for days in (32, 31)]
    tried = break_erasures(monkeypatch, made[0], by="SELECT pg_terminate_backend(pg_backend_pid())")
    run = EraseOverdue()
    with pytest.raises(DatabaseUnavailable):
        await run(keeping(world, 30))
    assert tried == made[:1]


async def test_two_workers_erase_each_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "POLL", 0.02)
    made = {await over(world, days=31) for _ in range(5)}
    async with running_workers(keeping(world, 30), keeping(world, 30)):

        async def all_are() -> bool:
            return await erased(world) == made

        await eventually(all_are)
    async with world.sessions() as session:
        entries = select(func.count()).where(TimelineEntry.name == "personal_data_erased")
        assert await session.scalar(entries) == len(made)
        assert await session.get(Tick, "erase")


async def test_two_at_once_erase_it_once(world: World) -> None:
    """Two replicas may both take the tick, if a run is longer than its period."""
    interview_id = await cancelled(world)
    await world.alter(interview_id, ended_at=ago(31 * DAY))
    async with world.sessions.begin() as first:
        await erasure.erase_overdue(first, interview_id=interview_id, before=ago(30 * DAY), now=ago(0))
        async with world.sessions() as second:
            await second.execute(text("SET lock_timeout = '50ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                await erasure.erase_overdue(second, interview_id=interview_id, before=ago(30 * DAY), now=ago(0))
    await EraseOverdue()(keeping(world, 30))
    assert (await world.names(interview_id, "service")).count("personal_data_erased") == 1


async def test_what_is_overdue_is_found_by_its_index(world: World) -> None:
    await fill(world.engine, 20_000)
    async with world.sessions.begin() as session:
        over_since = Interview.created_at + timedelta(hours=1)
        await session.execute(update(Interview).where(Interview.status != "READY_TO_JOIN").values(ended_at=over_since))
        # nearly all of it was erased long ago, as after years of a retention
        old = Interview.ended_at < NOW - timedelta(minutes=10)
        await session.execute(update(Interview).where(old).values(personal_data_erased_at=NOW))
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE interviews"))
    before = NOW + timedelta(hours=1) - timedelta(seconds=300)
    after = None
    for _ in range(2):
        plan, found = await plan_of(world.engine, partial(find_overdue, before=before, limit=10, after=after))
        assert "ix_interviews_to_erase" in plan, plan
        assert "Sort" not in plan, plan
        assert len(found) == 10
        assert after is None or min(found) > after
        after = found[-1]


async def test_kept_answers_are_found_by_their_index(world: World) -> None:
    interview_id = await world.new()
    fill_answers = text(
        "INSERT INTO idempotency_keys (organization_id, key, fingerprint, status, headers, body, interview_ids) "
        "SELECT id, 'k' || n, '', 200, '{}', '{}', ARRAY[gen_random_uuid()] FROM organizations, "
        "generate_series(1, 5000) n"
    )
    async with world.sessions.begin() as session:
        await session.execute(fill_answers)
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE idempotency_keys"))

    async def rewriting(session: AsyncSession) -> None:
        owner = await ensure_default_organization(session)
        await rewrite_answers(session, organization_id=owner, interview_id=interview_id, rewrite=lambda answer: answer)

    plan, _ = await plan_of(world.engine, rewriting, table="idempotency_keys")
    assert "ix_idempotency_keys_interview_ids" in plan, plan

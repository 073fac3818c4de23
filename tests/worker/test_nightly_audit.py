"""The nightly audit beside a service: in batches with rests between them, and a stop does not wait for its end."""

import asyncio
import uuid
from datetime import datetime

import pytest
from sqlalchemy import text

from app.core import metrics
from app.lifecycle import Status
from app.models import Tick
from app.worker import scheduler
from app.worker.scheduler import nightly_audit
from tests.e2e.conditions import eventually
from tests.worker.test_scheduler import running_workers
from tests.worker.world import World


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "AUDIT_BATCH", 2)
    monkeypatch.setattr(scheduler, "POLL", 0.02)


async def tampered_with(world: World, count: int) -> list[uuid.UUID]:
    """Interviews that each have one field that is not as derived, and not as on their timeline."""
    made = sorted([await world.new() for _ in range(count)])
    for interview_id in made:
        await world.alter(interview_id, status=Status.NO_SHOW)
    return made


async def last_run(world: World) -> datetime:
    async with world.sessions() as session:
        return (await session.get_one(Tick, "audit")).last_run


def counted() -> float:
    return metrics.AUDIT_DIFFERENCES._value.get()  # type: ignore[no-any-return] # noqa: SLF001 - it has no other way


def logged(caplog: pytest.LogCaptureFixture, made: list[uuid.UUID]) -> list[uuid.UUID]:
    return [each for each in made if f"audit: {each} status: NO_SHOW, by its facts" in caplog.text]


async def test_each_difference_is_logged_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler, "AUDIT_REST_FACTOR", 0)
    made, before = await tampered_with(world, 5), counted()
    async with world.sessions.begin() as session:
        await session.execute(text("UPDATE ticks SET last_run = now() WHERE name = 'audit'"))
    taken_at = await last_run(world)
    await nightly_audit(world.context, stop=asyncio.Event())
    assert logged(caplog, made) == made
    assert counted() == before + 2 * len(made)
    assert await last_run(world) == taken_at  # it is done for today


async def test_a_stop_ends_it_between_two_batches_and_the_next_process_starts_over(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(scheduler, "AUDIT_REST_FACTOR", 10**6)  # only a stop can end such a rest
    made = await tampered_with(world, 5)
    async with running_workers(world.context):
        await eventually(lambda: logged(caplog, made))
    assert logged(caplog, made) == made[:2]
    assert "audit: stopped after 2 interviews, the next process starts from the beginning" in caplog.text

    caplog.clear()
    monkeypatch.setattr(scheduler, "AUDIT_REST_FACTOR", 0)
    async with running_workers(world.context):
        await eventually(lambda: logged(caplog, made) == made)

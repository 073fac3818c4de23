"""The benchmarks' interviews: what is asked for, true by the audit, and an index for everything that had one."""

import asyncio
import shutil
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.core.database import create_engine, create_sessionmaker
from app.core.search_text import searchable
from app.lifecycle import Timeouts
from app.models import Interview, TimelineEntry
from app.worker.audit import audit
from benchmarks.dataset import DiskTooFull, fill

KEYS = text(
    "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'"
    " UNION ALL SELECT conname::text FROM pg_constraint ORDER BY 1"
)


def test_fill(own_database: str) -> None:
    before = asyncio.run(read(own_database, KEYS))
    fill(own_database, interviews=2_000, timeline_rows_per_interview=5)
    assert asyncio.run(read(own_database, KEYS)) == before
    assert asyncio.run(read(own_database, select(func.count()).select_from(Interview))) == [2_000]
    assert asyncio.run(read(own_database, select(func.count()).select_from(TimelineEntry))) == [10_000]
    asyncio.run(check_rows(own_database))
    with pytest.raises(ValueError, match="has interviews already"):
        fill(own_database, interviews=1, timeline_rows_per_interview=1)


async def read(url: str, query: Any) -> list[Any]:
    engine = create_engine(url)
    async with engine.connect() as connection:
        found = list((await connection.scalars(query)).all())
    await engine.dispose()
    return found


async def check_rows(url: str) -> None:
    engine = create_engine(url)
    sessions = create_sessionmaker(engine)
    assert [each async for batch in audit(sessions, timeouts=Timeouts()) for each in batch.differences] == []
    searched = (Interview.participant_name, Interview.job_title, Interview.phone_number)
    async with sessions() as session:
        for row in (await session.execute(select(*searched, Interview.search_text))).mappings():
            texts = dict(row)
            assert texts.pop("search_text") == searchable(**texts)
    await engine.dispose()


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=19_999_999_999))
    with pytest.raises(DiskTooFull, match="20 GB are needed"):
        fill("postgresql://127.0.0.1:1/none", interviews=1_000_000, timeline_rows_per_interview=10)

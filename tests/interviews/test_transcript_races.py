"""Agents that write at the same time, on committed rows and real connections, and what Postgres plans for readers."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database import create_sessionmaker
from app.core.pagination import Page
from app.core.settings import Settings
from app.interviews.transcript import count_lines, read_transcript
from app.main import create_app
from app.models import Interview, TranscriptLine
from tests.calls import scheduled
from tests.conftest import AUTHORIZED, client_of
from tests.interview_driver import InterviewDriver
from tests.query_plans import fill, plan_of
from tests.transcripts import append, get_checkpoint, line, put_checkpoint, texts, transcript

FILL = text(
    """
    INSERT INTO transcript_lines (interview_id, attempt, position, agent, line_id, speaker, text, said_at)
    SELECT interview.id, 1 + n % 2, n / 2, 'agent-AJ_1', 'line-' || n, 'agent', 'Hello.', now()
    FROM (SELECT id FROM interviews ORDER BY id LIMIT 200) AS interview, generate_series(2, 201) AS n
    """
)


@pytest.fixture
def committing(own_engine: AsyncEngine, settings: Settings) -> FastAPI:
    return create_app(settings, create_sessionmaker(own_engine))


async def test_a_reader_that_polls_meanwhile_misses_no_line(committing: FastAPI) -> None:
    """Two agents append at the same time, each line also twice: positions have no gaps, and none comes late."""
    async with client_of(committing) as client:
        made = await scheduled(client)
        seen: list[dict[str, Any]] = []
        done = asyncio.Event()

        async def poll() -> None:
            while True:
                was_done = done.is_set()
                page = await transcript(client, made, attempt=1, after=len(seen), limit=7)
                seen.extend(page["data"])
                assert [each["position"] for each in seen] == list(range(1, len(seen) + 1))
                if was_done and not page["data"]:
                    return

        async def write(agent: str, number: int) -> int:
            lines = [line(each, f"{agent} {each}") for each in range(3 * number, 3 * number + 3)]
            return (await append(client, made, *lines, agent=agent)).status_code

        reader = asyncio.create_task(poll())
        writes = [write(agent, number) for number in range(15) for agent in ("agent-A", "agent-B") for _ in range(2)]
        assert set(await asyncio.gather(*writes)) == {200}
        done.set()
        await reader
    expected = Counter(f"{agent} {each}" for agent in ("agent-A", "agent-B") for each in range(45))
    assert Counter(each["text"] for each in seen) == expected


async def test_the_end_and_its_last_lines_at_once(own_engine: AsyncEngine, committing: FastAPI) -> None:
    """In whatever order they commit, the last event comes after the last line."""
    async with client_of(committing) as client:
        driver = InterviewDriver(committing, client)
        for _ in range(5):
            made = await driver.new()
            await driver.talk(made)
            driver.later(30)
            answers = await asyncio.gather(
                append(client, made, line(1)), driver.complete(made, result=1), append(client, made, line(2))
            )
            assert {each.status_code for each in answers} == {200}
            assert len(await texts(client, made)) == 2
            async with own_engine.connect() as connection:
                rows = await connection.execute(
                    text("SELECT type, sequence FROM changes WHERE interview_id = :id ORDER BY sequence"),
                    {"id": made["interviewId"]},
                )
                changes = rows.all()
            assert [row.sequence for row in changes] == list(range(1, len(changes) + 1))
            types = Counter(row.type for row in changes)
            assert types["interview.result_available"] == 1
            assert 1 <= types["interview.transcript_available"] <= 2


async def test_of_two_agents_one_keeps_the_checkpoint(committing: FastAPI) -> None:
    async with client_of(committing) as client:
        for _ in range(5):
            made = await scheduled(client)
            writes = [
                put_checkpoint(client, made, sequence, [agent, sequence], agent=agent)
                for sequence in range(4)
                for agent in ("agent-A", "agent-B")
            ]
            answers = await asyncio.gather(*writes)
            codes = {each.json()["code"] for each in answers if each.status_code != 204}
            assert codes <= {"agent_replaced", "checkpoint_outdated"}
            stored = (await get_checkpoint(client, made)).json()
            assert stored["state"] == [stored["agent"], stored["sequence"]]
            later = [await put_checkpoint(client, made, 9, 9, agent=agent) for agent in ("agent-A", "agent-B")]
            assert sorted(each.status_code for each in later) == [204, 409]


async def test_an_erasure_at_the_same_time_leaves_nothing(own_engine: AsyncEngine, committing: FastAPI) -> None:
    async with client_of(committing) as client:
        driver = InterviewDriver(committing, client)
        made = await driver.new()
        await append(client, made, line(0))
        await put_checkpoint(client, made, 0, 0)
        await driver.fails(made)
        path = f"/interviews/{made['interviewId']}/personal-data"

        async def erase() -> httpx.Response:
            return await client.delete(path, headers=AUTHORIZED)

        calls = [append(client, made, line(number)) for number in range(1, 10)]
        answers = await asyncio.gather(*calls[:5], erase(), *calls[5:], erase())
        assert {each.status_code for each in answers} <= {200, 204, 410}
    async with own_engine.connect() as connection:
        for table in ("transcript_lines", "checkpoints"):
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0  # noqa: S608


async def test_reading_uses_the_primary_key(own_engine: AsyncEngine) -> None:
    await fill(own_engine, 1_000)
    async with own_engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(FILL)
        await connection.execute(text("VACUUM ANALYZE transcript_lines"))
        interview_id = (await connection.execute(text("SELECT min(interview_id::text) FROM transcript_lines"))).scalar()

    async def read(session: AsyncSession) -> Page[TranscriptLine]:
        interview = await session.get_one(Interview, interview_id)
        assert await count_lines(session, interview=interview) == 100
        return await read_transcript(session, interview_id=interview.id, attempt=1, after=50, cursor=None, limit=20)

    plan, page = await plan_of(own_engine, read, table="transcript_lines")
    assert [each.position for each in page.items] == list(range(51, 71))
    assert plan.count("pk_transcript_lines") == 2
    assert "Seq Scan" not in plan
    assert "Sort" not in plan

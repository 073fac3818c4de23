"""POST /interviews/batch: up to 1,000 interviews, all of them or none, in a handful of statements."""

from collections import Counter
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.core.database import create_sessionmaker
from app.core.settings import Settings
from app.main import create_app
from app.models import Change, Interview, TimelineEntry
from tests.calls import NEW, join, problem_of, read
from tests.conftest import AUTHORIZED, client_of

Sessions = async_sessionmaker[AsyncSession]


async def post(client: httpx.AsyncClient, interviews: Any, **more: Any) -> httpx.Response:
    return await client.post("/interviews/batch", headers=AUTHORIZED, json={"interviews": interviews} | more)


async def count(sessions: Sessions, table: type[Interview] | type[Change] | type[TimelineEntry] = Interview) -> int:
    async with sessions() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


def numbered(many: int) -> list[dict[str, Any]]:
    return [NEW | {"candidateId": f"c{number}"} for number in range(many)]


async def test_interviews_come_in_the_order_given_and_can_be_joined(
    client: httpx.AsyncClient, sessions: Sessions
) -> None:
    given = [
        NEW | {"candidateId": "first", "context": {"rubric": [1]}},
        NEW | {"candidateId": "second", "instructions": "Be kind.", "maxDuration": 60},
        NEW | {"candidateId": "third", "opensAt": "2026-01-02T03:04:05Z", "participantName": "ليلى"},
    ]
    answer = await post(client, given)
    assert answer.status_code == 201
    made = answer.json()["data"]
    assert [each["candidateId"] for each in made] == ["first", "second", "third"]
    assert made[1] | given[1] == made[1]
    for each in made:
        assert await read(client, each) == each | {"summary": None, "result": None, "transcriptLines": 0}
        assert (await join(client, each)).status_code == 200
    async with sessions() as session:
        changes = (await session.scalars(select(Change).order_by(Change.id))).all()
    assert [str(each.interview_id) for each in changes] == [each["interviewId"] for each in made]
    assert {(each.type, each.sequence, each.previous_status) for each in changes} == {("interview.scheduled", 1, None)}
    assert await count(sessions, TimelineEntry) == 3


async def test_a_thousand_take_a_dozen_statements(own_engine: AsyncEngine, settings: Settings) -> None:
    raw_connection = Counter[str]()

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        raw_connection[statement] += 1

    async with client_of(create_app(settings, create_sessionmaker(own_engine))) as client:
        event.listen(own_engine.sync_engine, "before_cursor_execute", note)
        answer = await post(client, numbered(1000))
        event.remove(own_engine.sync_engine, "before_cursor_execute", note)
    assert answer.status_code == 201
    assert [each["candidateId"] for each in answer.json()["data"]] == [f"c{number}" for number in range(1000)]
    assert raw_connection.total() <= 15
    sessions = create_sessionmaker(own_engine)
    assert [await count(sessions, table) for table in (Interview, Change, TimelineEntry)] == [1000] * 3


@pytest.mark.parametrize("many", [0, 1001])
async def test_too_few_and_too_many(client: httpx.AsyncClient, sessions: Sessions, many: int) -> None:
    (fault,) = problem_of(await post(client, numbered(many)), 422, "payload_invalid")["errors"]
    assert fault["field"] == "interviews"
    assert await count(sessions) == 0


async def test_each_error_names_its_interview_and_nothing_is_made(
    client: httpx.AsyncClient, sessions: Sessions
) -> None:
    given = numbered(5)
    given[1] |= {"jobTitle": ""}
    given[3] |= {"maxDuration": 5, "odd": 1, "closesAt": "2020-01-01T00:00:00Z"}
    errors = problem_of(await post(client, given), 422, "payload_invalid")["errors"]
    assert [fault["field"] for fault in errors] == [
        "interviews.1.jobTitle",
        "interviews.3.maxDuration",
        "interviews.3.closesAt",
        "interviews.3.odd",
    ]
    assert await count(sessions) == 0


async def test_too_long_texts_name_their_interviews(client: httpx.AsyncClient, sessions: Sessions) -> None:
    given = numbered(5)
    given[0] |= {"instructions": "x" * 8000}
    given[4] |= {"instructions": "ل" * 4000}
    errors = problem_of(await post(client, given), 422, "token_too_large")["errors"]
    assert [fault["field"] for fault in errors] == ["interviews.0.instructions", "interviews.4.instructions"]
    excess = int(errors[0]["message"].split("by some ")[1].split()[0])
    given[0] |= {"instructions": "x" * (8000 - excess)}
    errors = problem_of(await post(client, given), 422, "token_too_large")["errors"]
    assert [fault["field"] for fault in errors] == ["interviews.4.instructions"]
    assert await count(sessions) == 0


async def test_an_invalid_batch_is_refused(client: httpx.AsyncClient) -> None:
    for body in ({}, {"interviews": None}, {"interviews": NEW}, {"interviews": [5]}, {"interviews": [NEW], "odd": 1}):
        problem_of(await client.post("/interviews/batch", headers=AUTHORIZED, json=body), 422, "payload_invalid")


async def test_a_too_large_body_is_refused(client: httpx.AsyncClient) -> None:
    body = b'{"interviews": [' + b" " * 16 * 1024 * 1024 + b"]}"
    problem_of(await client.post("/interviews/batch", headers=AUTHORIZED, content=body), 413, "body_too_large")
    problem_of(await client.post("/interviews/batch", content=body), 401, "unauthorized")


async def test_a_body_with_countless_errors_is_refused_without_listing_them(client: httpx.AsyncClient) -> None:
    odd = {f"k{number}": 1 for number in range(200_000)}
    errors = problem_of(await post(client, [NEW | odd]), 422, "payload_invalid")["errors"]
    assert len(errors) == 1
    assert "faults" in errors[0]["message"]

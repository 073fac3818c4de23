"""Reading personal data: all that an erasure erases, of one interview and of one candidate, and of nobody else."""

import asyncio
import json
import uuid
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.api.personal_data import SECTION_MODELS, StoredInterview
from app.auth.api_keys import Scope
from app.interviews.demo import DEMO_ID
from app.interviews.personal_data import INTERVIEW, SECTIONS
from app.models import JoinRequest, TimelineEntry
from app.models.base import Base
from tests.conftest import AUTHORIZED
from tests.interview_driver import InterviewDriver
from tests.interviews.test_erasure import NEEDLES, PERSON, PERSONAL, Story, driver, key_of, story
from tests.serving import serving
from tests.stored import everything

__all__ = ["driver", "story"]  # fixtures

Sessions = async_sessionmaker[AsyncSession]
# What an erasure changes that says nothing about a person: what it notes of itself.
NOTES = {"personal_data_erased_at", "updated_at", "sequence"}


def sent(answer: httpx.Response) -> Any:
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store"), answer.text
    return answer.json()


async def read(story: Story) -> Any:
    return sent(await story.driver.client.get(f"{story.path}/personal-data", headers=AUTHORIZED))


Rows = dict[tuple[Any, ...], dict[str, Any]]


async def rows_of(sessions: Sessions, table: str) -> Rows:
    """Return all rows of the table by their primary keys."""
    key = [column.name for column in Base.metadata.tables[table].primary_key]
    async with sessions() as session:
        rows = (await session.execute(text(f"SELECT * FROM {table}"))).mappings()  # noqa: S608 - a table of ours
        return {tuple(row[name] for name in key): dict(row) for row in rows}


def changed_columns(before: Rows, after: Rows) -> set[str]:
    """Return the columns whose value has changed in any row; of a deleted row all but its ids."""
    changed = set()
    for key, row in before.items():
        new = after.get(key, {})
        changed |= {name for name in row.keys() - {"id", "interview_id"} if name not in new or new[name] != row[name]}
    return changed


def test_each_column_that_is_erased_is_read() -> None:
    """The erasure's list is in test_erasure, which compares it with the tables."""
    columns = {section.table.__tablename__: set(section.columns) for section in SECTIONS.values()}
    columns["interviews"] = set(INTERVIEW)
    assert {table: personal - columns.get(table, set()) for table, personal in PERSONAL.items()} == {
        table: set() for table in PERSONAL
    }


def test_each_column_is_a_field_of_the_response() -> None:
    own = {"interview_id", "created_at", "personal_data_erased_at"}
    assert set(StoredInterview.model_fields) == {*INTERVIEW, *own}
    fields = {name: set(model.model_fields) for name, model in SECTION_MODELS.items()}
    assert fields == {name: set(section.columns) for name, section in SECTIONS.items()}


async def test_what_an_erasure_changes_was_read_before(story: Story, sessions: Sessions) -> None:
    """Whatever the lists say: by the tables before and after."""
    columns = {section.table.__tablename__: set(section.columns) for section in SECTIONS.values()}
    columns["interviews"] = {*INTERVIEW, *NOTES}
    found = json.dumps(await read(story), ensure_ascii=False)
    before = {table: await rows_of(sessions, table) for table in Base.metadata.tables}
    await story.erase()
    for table, rows in before.items():
        changed = changed_columns(rows, await rows_of(sessions, table))
        assert bool(changed) == (table in PERSONAL), table
        assert changed <= columns.get(table, set()), table
    stored = {needle for needle in NEEDLES if needle in str(before)}
    assert {needle for needle in stored if needle not in found} == set()
    left = json.dumps(await read(story), ensure_ascii=False)
    assert {needle for needle in NEEDLES if needle in left} == set()


async def test_what_is_read_of_an_interview(story: Story) -> None:
    found = await read(story)
    texts = {name: value for name, value in PERSON.items() if name != "context"}
    assert {name: found[name] for name in texts} == texts
    assert found["context"] == PERSON["context"]
    assert found["inviteHash"] == story.needles[-1]
    assert found["inviteExpiresAt"] > found["createdAt"]
    assert [each["identity"] for each in found["connections"]][:2] == ["observer-Huda-Alharbi", "candidate-c"]
    (report,) = found["reports"]
    assert (report["summary"], report["result"]) == ("She moved to Tabuk.", {"notes": ["of Najran"]})
    assert Counter(each["answer"] for each in found["joinRequests"]) == {"wrong_phone_number": 1, "TOKEN_ISSUED": 1}
    assert all(len(each["address"]) == 32 for each in (*found["joinRequests"], *found["wrongTries"]))
    assert "candidate-c" in [each["detail"].get("identity") for each in found["timeline"]]
    assert {each["key"] for each in found["idempotencyKeys"]} == {"batch", "complete"}


async def test_a_batchs_stored_response_is_read_without_other_people(story: Story, sessions: Sessions) -> None:
    assert "Somebody Else" in str(await everything(sessions))
    found = await read(story)
    assert "Somebody Else" not in json.dumps(found)
    assert [[each["interviewId"] for each in kept["body"]] for kept in found["idempotencyKeys"]] == [
        [story.made["interviewId"]]
    ] * 2


async def test_all_interviews_of_a_candidate(story: Story, driver: InterviewDriver) -> None:
    """Erased ones too, and those of nobody else."""
    again = await driver.new(candidateId="c", participantName="Layla again")
    other = await driver.new(candidateId="d", participantName="Another Person")
    await story.erase()
    found = sent(await driver.client.get("/personal-data", headers=AUTHORIZED, params={"candidateId": "c"}))["data"]
    names = {each["interviewId"]: each["participantName"] for each in found}
    assert other["interviewId"] not in names
    assert names[again["interviewId"]] == "Layla again"
    assert names[story.made["interviewId"]] == ""
    for each in found:
        path = f"/interviews/{each['interviewId']}/personal-data"
        assert sent(await driver.client.get(path, headers=AUTHORIZED)) == each
    nobody = await driver.client.get("/personal-data", headers=AUTHORIZED, params={"candidateId": "e"})
    assert sent(nobody) == {"data": []}


async def test_many_rows_are_read_in_pages(driver: InterviewDriver, sessions: Sessions) -> None:
    """None is left out and none comes twice, also at the end of a full page."""
    made = await driver.new()
    key = uuid.UUID(made["interviewId"])
    joins = {"interview_id": key, "attempt": 1, "at": driver.now, "answer": "TOKEN_ISSUED"}
    entries = {"interview_id": key, "attempt": 1, "kind": "call", "name": "edited"}
    async with sessions.begin() as session:
        await session.execute(insert(JoinRequest), [joins] * 1_000)
        await session.execute(insert(TimelineEntry), [{**entries, "detail": {"number": n}} for n in range(1_234)])
    found = sent(await driver.client.get(f"/interviews/{key}/personal-data", headers=AUTHORIZED))
    assert len(found["joinRequests"]) == 1_000
    assert [each["detail"]["number"] for each in found["timeline"] if each["detail"]] == list(range(1_234))


async def test_many_interviews_of_a_candidate(driver: InterviewDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.interviews.personal_data.INTERVIEWS_AT_ONCE", 2)
    for number in (1, 2, 3, 4):
        made = [(await driver.new(candidateId=f"c{number}"))["interviewId"] for _ in range(number)]
        params = {"candidateId": f"c{number}"}
        found = sent(await driver.client.get("/personal-data", headers=AUTHORIZED, params=params))["data"]
        assert [each["interviewId"] for each in found] == sorted(made)


@pytest.mark.parametrize("params", [{}, {"candidateId": ""}, {"candidateId": "c", "jobPostId": "j"}], ids=str)
async def test_a_candidate_must_be_named(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await client.get("/personal-data", headers=AUTHORIZED, params=params)
    assert (answer.status_code, answer.json()["code"]) == (422, "payload_invalid")


async def test_only_an_admin_of_the_organization_reads_it(
    story: Story, sessions: Sessions, driver: InterviewDriver
) -> None:
    now: datetime = driver.now
    writer = await key_of(sessions, organization="default", scopes=[Scope.READ, Scope.WRITE, Scope.AGENT], now=now)
    foreign = await key_of(sessions, organization="ACME", scopes=list(Scope), now=now)
    for path in (f"{story.path}/personal-data", "/personal-data?candidateId=c"):
        assert (await driver.client.get(path)).status_code == 401
        answer = await driver.client.get(path, headers=writer)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    unknown = f"/interviews/{uuid.UUID(int=1)}/personal-data"
    answers = [await driver.client.get(path, headers=foreign) for path in (f"{story.path}/personal-data", unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert {**answers[0].json(), "requestId": ""} == {**answers[1].json(), "requestId": ""}
    assert sent(await driver.client.get("/personal-data?candidateId=c", headers=foreign)) == {"data": []}


async def test_reading_changes_nothing(story: Story, sessions: Sessions) -> None:
    before = await everything(sessions)
    await read(story)
    assert [each for each in await everything(sessions) if each.table != "api_keys"] == [
        each for each in before if each.table != "api_keys"
    ]


async def test_calls_at_once_do_not_wait_for_each_others_connections(own_database: str, tmp_path: Path) -> None:
    with serving(tmp_path, database_url=own_database, DATABASE_POOL_SIZE="2") as service:
        async with httpx.AsyncClient(base_url=service, headers=AUTHORIZED, timeout=60) as http:
            path = f"/interviews/{DEMO_ID}/personal-data"
            answers = await asyncio.gather(*(http.get(path) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8

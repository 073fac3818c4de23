"""PATCH /interviews/{id}: which fields can be edited, when, If-Match, and the events."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic.alias_generators import to_camel
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.api.schedule import InterviewUpdate
from app.api.schemas import NewInterview
from app.core.database import create_sessionmaker, driver_connection
from app.core.settings import Settings
from app.interviews.join_queries import JoinRecord, record_joins
from app.interviews.stored_facts import TOKEN_ISSUED
from app.main import create_app
from app.models import Change, Interview, Organization, TimelineEntry
from tests.calls import claims_of, problem_of
from tests.conftest import AUTHORIZED, client_of
from tests.e2e.conditions import eventually
from tests.interview_driver import InterviewDriver

Sessions = async_sessionmaker[AsyncSession]
ALL = {
    "candidateId": "c2",
    "applicationId": "a2",
    "jobPostId": "j2",
    "participantName": "ليلى",
    "phoneNumber": "+966 50 111 2222",
    "jobTitle": "Chef",
    "companyName": "ACME",
    "instructions": "Be kind.",
    "maxDuration": 600,
    "opensAt": "2026-01-01T00:00:00.000Z",
    "closesAt": "2031-01-01T00:00:00.000Z",
}
NULLABLE = {"opensAt", "closesAt"}


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def patch(
    driver: InterviewDriver, interview: dict[str, Any], if_match: str | None = None, **given: Any
) -> httpx.Response:
    headers = AUTHORIZED | ({} if if_match is None else {"If-Match": if_match})
    return await driver.client.patch(f"/interviews/{interview['interviewId']}", headers=headers, json=given)


async def patched(driver: InterviewDriver, interview: dict[str, Any], **given: Any) -> dict[str, Any]:
    answer = await patch(driver, interview, **given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def changes_of(sessions: Sessions, interview: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    query = select(Change).where(Change.interview_id == uuid.UUID(interview["interviewId"])).order_by(Change.id)
    async with sessions() as session:
        rows = (await session.scalars(query)).all()
    return [(each.type.removeprefix("interview."), each.previous_status, each.status) for each in rows]


async def edits_of(sessions: Sessions, interview: dict[str, Any]) -> list[dict[str, Any]]:
    query = select(TimelineEntry.detail).where(
        TimelineEntry.interview_id == uuid.UUID(interview["interviewId"]), TimelineEntry.name == "edited"
    )
    async with sessions() as session:
        return list((await session.scalars(query.order_by(TimelineEntry.id))).all())


def fields(answer: httpx.Response) -> list[str]:
    return [fault["field"] for fault in problem_of(answer, 422, "payload_invalid")["errors"]]


def test_all_has_each_field_that_can_be_scheduled() -> None:
    scheduled, edited = ({to_camel(name) for name in of.model_fields} for of in (NewInterview, InterviewUpdate))
    assert scheduled == edited == {*ALL, "context"}


@pytest.mark.parametrize("field", ALL)
async def test_one_field_changes_and_the_others_stay(driver: InterviewDriver, field: str) -> None:
    made = await driver.new(instructions="Speak.")
    driver.later(1)
    found = await patched(driver, made, **{field: ALL[field]})
    assert found[field] == ALL[field]
    expected = made | {field: ALL[field], "sequence": 2, "updatedAt": found["updatedAt"]}
    assert found == expected
    assert found["updatedAt"] > made["updatedAt"]
    assert await driver.get(made) == expected | {"summary": None, "result": None, "transcriptLines": 0}


async def test_all_at_once_are_one_change(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new()
    found = await patched(driver, made, **ALL)
    assert found | ALL == found
    assert found["sequence"] == 2
    assert await changes_of(sessions, made) == [
        ("scheduled", None, "READY_TO_JOIN"),
        ("updated", "READY_TO_JOIN", "READY_TO_JOIN"),
    ]


async def test_the_candidates_token_has_what_was_edited(driver: InterviewDriver) -> None:
    made = await driver.new()
    await patched(driver, made, **{**ALL, "closesAt": None})
    ticket = (await driver.join(made)).json()
    claims = claims_of(ticket["participantToken"])
    assert claims["sub"] == "candidate-c2"
    metadata = json.loads(claims["metadata"])
    assert metadata.keys() - {"interviewId", "status"} == ALL.keys() - NULLABLE
    assert metadata | {name: ALL[name] for name in metadata.keys() & ALL.keys()} == metadata


async def test_null_removes_optional_fields_only(driver: InterviewDriver) -> None:
    made = await driver.new(opensAt="2026-01-01T00:00:00Z", closesAt="2031-01-01T00:00:00Z")
    for field in ALL.keys() - NULLABLE:
        assert fields(await patch(driver, made, **{field: None})) == [field]
    found = await patched(driver, made, opensAt=None, closesAt=None)
    assert (found["opensAt"], found["closesAt"], found["sequence"]) == (None, None, 2)


REFUSED: dict[str, tuple[object, ...]] = {
    "candidateId": ("", "a b", 5),
    "participantName": ("", "\u00a0", "x" * 257, "a\0b"),
    "phoneNumber": ("1234", "call me", "966509876543.0"),
    "jobTitle": ("", "\u200b \u2800", "x" * 501),
    "companyName": ("\u202e",),
    "instructions": ("", "\u3164", 5),
    "maxDuration": (59, 14_401, "600", 600.5, True),
    "opensAt": ("soon", "2026-01-01T00:00:00"),
    "closesAt": ("soon", "9999-12-31T23:59:59Z", "2026-01-01T00:00:00Z"),
    "status": ("COMPLETED",),
    "interviewId": (str(uuid.UUID(int=1)),),
    "sequence": (7,),
    "candidate_id": ("c2",),
    "odd": (None,),
}


@pytest.mark.parametrize("field", REFUSED)
async def test_errors_name_their_field(driver: InterviewDriver, field: str) -> None:
    made = await driver.new()
    for value in REFUSED[field]:
        given: dict[str, Any] = {"jobTitle": "Chef", field: value}
        answer = await patch(driver, made, **given)
        assert fields(answer) == [field], value
    assert (await driver.get(made))["sequence"] == 1


async def test_equal_values_write_nothing(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new(**ALL, context={"a": [1]})
    same = ALL | {"context": {"a": [1]}, "opensAt": "2026-01-01T02:00:00+02:00"}
    driver.later(60)
    assert await patched(driver, made, **same) == made
    assert await patched(driver, made) == made
    assert len(await changes_of(sessions, made)) == 1
    assert await edits_of(sessions, made) == []


async def test_the_timeline_names_the_fields_and_never_their_values(
    driver: InterviewDriver, sessions: Sessions
) -> None:
    made = await driver.new()
    await patched(driver, made, phoneNumber="+966 50 111 2222", jobTitle="Chef", companyName=made["companyName"])
    assert await edits_of(sessions, made) == [{"fields": ["instructions", "jobTitle", "phoneNumber"]}]


class TestInstructions:
    async def test_rendered_instructions_follow_the_texts(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        found = await patched(driver, made, jobTitle="Chef", companyName="ACME")
        assert found["instructions"].startswith("Welcome to your interview for Chef at ACME. ")

    async def test_given_instructions_stay(self, driver: InterviewDriver) -> None:
        made = await driver.new(instructions="Be kind to the Developer.")
        assert (await patched(driver, made, jobTitle="Chef"))["instructions"] == "Be kind to the Developer."
        given = await patched(driver, await driver.new(), jobTitle="Chef", instructions="Cook.")
        assert given["instructions"] == "Cook."
        made = await driver.new()
        same = await patched(driver, made, jobTitle="Chef", instructions=made["instructions"])
        assert same["instructions"] == made["instructions"]

    async def test_instructions_of_an_earlier_template_stay(self, driver: InterviewDriver, sessions: Sessions) -> None:
        made = await driver.new()
        async with sessions.begin() as session:
            await session.execute(update(Organization).values(instructions_template="Now {jobTitle}."))
        assert (await patched(driver, made, jobTitle="Chef"))["instructions"] == made["instructions"]

    async def test_too_long_texts_are_refused_on_edit(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        answer = await patch(driver, made, instructions="x" * 8000)
        problem = problem_of(answer, 422, "token_too_large")
        assert [fault["field"] for fault in problem["errors"]] == ["instructions"]
        assert await driver.get(made) == made | {"summary": None, "result": None, "transcriptLines": 0}


class TestTimes:
    async def test_closes_after_it_opens_also_as_stored(self, driver: InterviewDriver) -> None:
        opens, closes = (driver.now + timedelta(hours=each) for each in (2, 4))
        made = await driver.new(opensAt=opens.isoformat(), closesAt=closes.isoformat())
        hour = timedelta(hours=1)
        assert fields(await patch(driver, made, closesAt=(opens - hour).isoformat())) == ["closesAt"]
        assert fields(await patch(driver, made, closesAt=opens.isoformat())) == ["closesAt"]
        assert fields(await patch(driver, made, opensAt=(closes + hour).isoformat())) == ["opensAt"]
        both = {"opensAt": (closes + hour).isoformat(), "closesAt": closes.isoformat()}
        assert fields(await patch(driver, made, **both)) == ["opensAt"]
        both = {"opensAt": (closes + hour).isoformat(), "closesAt": (closes + 2 * hour).isoformat()}
        assert (await patched(driver, made, **both))["sequence"] == 2

    async def test_it_closes_in_the_future(self, driver: InterviewDriver) -> None:
        """Also once it has started: an earlier closesAt would end the window before the candidate came."""
        made = await driver.new()
        assert fields(await patch(driver, made, closesAt=driver.now.isoformat())) == ["closesAt"]
        assert (await driver.join(made)).status_code == 200
        driver.later(300)
        await driver.talk(made)
        driver.later(60)
        earlier = driver.now - timedelta(seconds=200)
        assert fields(await patch(driver, made, closesAt=earlier.isoformat())) == ["closesAt"]
        later = driver.now + timedelta(seconds=1)
        assert (await patched(driver, made, closesAt=later.isoformat()))["status"] == "IN_PROGRESS"
        driver.later(60)
        assert (await patched(driver, made, jobTitle="Chef"))["status"] == "IN_PROGRESS"
        assert (await patched(driver, made, closesAt=None))["status"] == "IN_PROGRESS"

    async def test_opening_at_once_sends_the_public_status(self, driver: InterviewDriver, sessions: Sessions) -> None:
        made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat())
        assert made["status"] == "SCHEDULED"
        assert (await patched(driver, made, opensAt=None))["status"] == "READY_TO_JOIN"
        assert (await changes_of(sessions, made))[1:] == [("status_changed", "SCHEDULED", "READY_TO_JOIN")]

    async def test_the_deadline_follows(self, driver: InterviewDriver, sessions: Sessions) -> None:
        made = await driver.new(closesAt=(driver.now + timedelta(hours=1)).isoformat())
        later = driver.now + timedelta(hours=3)
        await patched(driver, made, closesAt=later.isoformat())
        assert await deadline(sessions, made) == later
        await patched(driver, made, closesAt=None)
        assert await deadline(sessions, made) is None

    async def test_a_duration_shortened_into_the_past_is_due_at_once(
        self, driver: InterviewDriver, sessions: Sessions
    ) -> None:
        made = await driver.new(maxDuration=3600)
        await driver.talk(made)
        driver.later(600)
        found = await patched(driver, made, maxDuration=300)
        assert found["status"] == "IN_PROGRESS"  # until LiveKit was asked
        due = await deadline(sessions, made)
        assert due is not None
        assert due <= driver.now
        async with sessions.begin() as session:  # asked, as the worker does
            await session.execute(update(Interview).values(asked_at=driver.now))
        ended = await patched(driver, made, maxDuration=240)
        assert (ended["status"], ended["endReason"]) == ("COMPLETED", "MAX_DURATION_REACHED")
        lasted = datetime.fromisoformat(ended["endedAt"]) - datetime.fromisoformat(ended["startedAt"])
        assert lasted == timedelta(seconds=240)
        assert (await changes_of(sessions, made))[-2:] == [
            ("updated", "IN_PROGRESS", "IN_PROGRESS"),
            ("status_changed", "IN_PROGRESS", "COMPLETED"),
        ]

    async def test_a_new_duration_is_announced_to_the_room(self, driver: InterviewDriver, sessions: Sessions) -> None:
        made = await driver.new(maxDuration=3600)
        await driver.talk(made)
        async with sessions.begin() as session:
            await session.execute(update(Interview).values(told=timedelta(minutes=1)))
        await patched(driver, made, maxDuration=7200)
        due = await deadline(sessions, made)
        assert due is not None
        assert due - datetime.fromisoformat((await driver.get(made))["startedAt"]) == timedelta(seconds=7200 - 300)


async def deadline(sessions: Sessions, interview: dict[str, Any]) -> datetime | None:
    async with sessions() as session:
        return (await session.get_one(Interview, uuid.UUID(interview["interviewId"]))).next_deadline_at


class TestWhen:
    async def test_an_ended_interview_cannot_be_edited(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await driver.call(made, "cancel")
        for given in ({}, {"jobTitle": "Chef"}):
            problem = problem_of(await patch(driver, made, "*", **given), 409, "interview_over")
            assert problem["interviewStatus"] == "CANCELLED"
        await driver.call(made, "reopen")
        assert (await patched(driver, made, jobTitle="Chef"))["attempt"] == 2

    async def test_the_candidate_is_fixed_once_a_token_was_issued(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        await patched(driver, made, candidateId="c2")
        assert (await driver.join(made)).status_code == 200
        problem_of(await patch(driver, made, candidateId="c3"), 409, "token_issued")
        assert (await patched(driver, made, candidateId="c2", jobTitle="Chef"))["jobTitle"] == "Chef"
        await driver.call(made, "cancel")
        await driver.call(made, "reopen")
        problem_of(await patch(driver, made, candidateId="c3"), 409, "token_issued")

    async def test_a_refused_join_issues_no_token(self, driver: InterviewDriver) -> None:
        made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat())
        assert (await driver.join(made)).status_code == 409
        assert (await patched(driver, made, candidateId="c2"))["candidateId"] == "c2"

    async def test_another_organizations_is_not_found(self, driver: InterviewDriver) -> None:
        nobodys = {"interviewId": str(uuid.UUID(int=1))}
        problem_of(await patch(driver, nobodys, '"7"', jobTitle="Chef"), 404, "interview_not_found")


class TestIfMatch:
    async def test_every_answer_with_an_interview_has_its_etag(self, driver: InterviewDriver) -> None:
        made = await driver.new()
        path = f"/interviews/{made['interviewId']}"
        answers = [
            await driver.client.get(path, headers=AUTHORIZED),
            await patch(driver, made, jobTitle="Chef"),
            await driver.call(made, "cancel"),
            await driver.call(made, "reopen"),
        ]
        again = answers[-1].json()
        await driver.talk(again)
        answers.append(await driver.complete(again))
        assert [each.headers["ETag"] for each in answers] == ['"1"', '"2"', '"3"', '"4"', '"7"']
        assert [each.json()["sequence"] for each in answers] == [1, 2, 3, 4, 7]

    @pytest.mark.parametrize(
        "given", ['"1"', "*", ' "1" ', '"0", "1"', '"x","1"', 'W/"2", "1"', '"a,b" , "1"', ', "1",'], ids=str
    )
    async def test_a_matching_etag_edits(self, driver: InterviewDriver, given: str) -> None:
        answer = await patch(driver, await driver.new(), given, jobTitle="Chef")
        assert (answer.status_code, answer.headers.get("ETag")) == (200, '"2"')

    @pytest.mark.parametrize("given", ['"2"', '"0", "7"', 'W/"1"', '""', '"01x"', '"' + "1" * 400 + '"'], ids=str)
    async def test_an_outdated_etag_is_refused(self, driver: InterviewDriver, given: str) -> None:
        made = await driver.new()
        for more in ({"jobTitle": "Chef"}, {}, {"maxDuration": 1800}):
            problem = problem_of(await patch(driver, made, given, **more), 412, "precondition_failed")
            assert "Get the interview again" in problem["detail"]
            assert problem["sequence"] == 1
        assert (await driver.get(made))["sequence"] == 1

    @pytest.mark.parametrize("given", ["", "1", '"1', "'1'", '"1" "2"', "*, *", '*, "1"', 'w/"1"', '"a"b"'], ids=str)
    async def test_a_malformed_if_match_is_refused(self, driver: InterviewDriver, given: str) -> None:
        answer = await patch(driver, await driver.new(), given, jobTitle="Chef")
        assert fields(answer) == ["If-Match"]

    async def test_of_two_edits_with_the_same_etag_one_wins(self, own_engine: AsyncEngine, settings: Settings) -> None:
        async with client_of(create_app(settings, create_sessionmaker(own_engine))) as client:
            made = (await client.post("/interviews", headers=AUTHORIZED, json=ALL | {"context": None})).json()
            path, headers = f"/interviews/{made['interviewId']}", AUTHORIZED | {"If-Match": '"1"'}
            answers = await asyncio.gather(
                *(client.patch(path, headers=headers, json={"jobTitle": f"Title {number}"}) for number in range(8))
            )
            assert sorted(each.status_code for each in answers) == [200] + [412] * 7
            (won,) = [each.json() for each in answers if each.status_code == 200]
            assert (await client.get(path, headers=AUTHORIZED)).json()["jobTitle"] == won["jobTitle"]


class TestCandidateAndJoin:
    """A token must name the interview's new candidate."""

    async def test_edits_wait_for_a_join_in_progress(self, own_engine: AsyncEngine, settings: Settings) -> None:
        sessions = create_sessionmaker(own_engine)
        async with client_of(create_app(settings, sessions)) as client:
            made = (await client.post("/interviews", headers=AUTHORIZED, json=ALL)).json()
            async with sessions() as join_batcher:
                await _record_a_join(join_batcher, made)
                editing = asyncio.create_task(_patch(client, made))
                await _somebody_waits(sessions)
                await join_batcher.commit()
            problem_of(await editing, 409, "token_issued")

    async def test_a_join_waits_for_an_edit_and_names_the_new_candidate(
        self, own_engine: AsyncEngine, settings: Settings
    ) -> None:
        sessions = create_sessionmaker(own_engine)
        async with client_of(create_app(settings, sessions)) as client:
            made = (await client.post("/interviews", headers=AUTHORIZED, json=ALL)).json()
            async with sessions() as editing:
                locked = text("SELECT 1 FROM interviews WHERE id = :id FOR UPDATE")
                await editing.execute(locked, {"id": made["interviewId"]})
                edited = text("UPDATE interviews SET candidate_id = 'c3' WHERE id = :id")
                await editing.execute(edited, {"id": made["interviewId"]})
                join_batcher = asyncio.create_task(client.post(f"/interviews/{made['interviewId']}/join"))
                await _somebody_waits(sessions)
                await editing.commit()
            answer = await join_batcher
        assert answer.status_code == 200
        assert answer.json()["candidateId"] == "c3"
        assert claims_of(answer.json()["participantToken"])["sub"] == "candidate-c3"

    async def test_many_edits_and_joins_at_once(self, own_engine: AsyncEngine, settings: Settings) -> None:
        sessions = create_sessionmaker(own_engine)
        async with client_of(create_app(settings, sessions)) as client:
            for _ in range(10):
                made = (await client.post("/interviews", headers=AUTHORIZED, json=ALL)).json()
                path = f"/interviews/{made['interviewId']}"
                joins = [client.post(f"{path}/join") for _ in range(4)]
                answers = await asyncio.gather(*joins, *(_patch(client, made, f"c{n}") for n in range(4)))
                assert {each.status_code for each in answers} <= {200, 409}
                now = (await client.get(path, headers=AUTHORIZED)).json()
                subjects = {claims_of(each.json()["participantToken"])["sub"] for each in answers[:4]}
                assert subjects == {f"candidate-{now['candidateId']}"}


async def _record_a_join(session: AsyncSession, made: dict[str, Any]) -> None:
    """Record it as join does, in a transaction that stays open."""
    await session.execute(text("SELECT 1"))
    answer = JoinRecord(
        interview_id=uuid.UUID(made["interviewId"]),
        candidate_id=made["candidateId"],
        attempt=1,
        at=datetime.now(UTC),
        answer=TOKEN_ISSUED,
        address=None,
        counts_as_try=False,
        is_counted=False,
        is_held_back=False,
    )
    assert await record_joins(await driver_connection(session), [answer], is_durable=True) == {0: None}


async def _patch(client: httpx.AsyncClient, made: dict[str, Any], candidate: str = "c3") -> httpx.Response:
    path = f"/interviews/{made['interviewId']}"
    return await client.patch(path, headers=AUTHORIZED, json={"candidateId": candidate})


async def _somebody_waits(sessions: Sessions) -> None:
    """Return once a transaction of this database waits for another."""
    waiting = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    async def there_is_one() -> bool:
        async with sessions() as session:
            return bool(await session.scalar(waiting))

    await eventually(there_is_one)

"""The transcript: what agents append, and how recruiters read it while the interview runs."""

import json
import uuid
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews import transcript_append as use_case
from tests.calls import problem_of, scheduled
from tests.conftest import AUTHORIZED
from tests.interview_driver import InterviewDriver
from tests.transcripts import append, appended, line, livekit_was_asked, texts, transcript

ARABIC = "ما الفرق بين «القائمة» والصف؟ 🙂\n<b>&"


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return InterviewDriver(app, client)


async def test_lines_come_back_as_they_were_sent_in_their_order(client: httpx.AsyncClient) -> None:
    made = await scheduled(client)
    assert await appended(client, made, line(2, ARABIC, "candidate"), line(1, at="2026-11-22T12:00:01.5+03:00")) == (
        2,
        2,
    )
    page = await transcript(client, made)
    assert page == {
        "data": [
            {
                "position": 1, "id": "line-2", "speaker": "candidate", "agent": "agent-AJ_1", "text": ARABIC,
                "at": "2026-11-22T09:00:00.000Z",
            },
            {
                "position": 2, "id": "line-1", "speaker": "agent", "agent": "agent-AJ_1", "text": "Hello.",
                "at": "2026-11-22T09:00:01.500Z",
            },
        ],
        "nextCursor": None,
    }  # fmt: skip


async def test_a_repeated_line_is_skipped(client: httpx.AsyncClient) -> None:
    made = await scheduled(client)
    assert await appended(client, made, line(1, "one")) == (1, 1)
    assert await appended(client, made, line(1, "one"), line(2, "two"), line(2, "two"), line(1, "other")) == (1, 2)
    assert await appended(client, made, line(2, "two")) == (0, 2)
    assert await appended(client, made, line(1, "of another agent"), agent="agent-AJ_2") == (1, 3)
    assert await texts(client, made) == ["one", "two", "of another agent"]
    assert [each["position"] for each in (await transcript(client, made))["data"]] == [1, 2, 3]


async def test_pages_and_what_is_new_since_a_position(client: httpx.AsyncClient) -> None:
    made = await scheduled(client)
    await appended(client, made, *(line(number, str(number)) for number in range(1, 8)))
    first = await transcript(client, made, limit=3)
    assert [each["text"] for each in first["data"]] == ["1", "2", "3"]
    assert await texts(client, made, limit=3) == list("1234567")
    assert await texts(client, made, limit=7) == list("1234567")
    assert await texts(client, made, attempt=1, after=5, limit=1) == ["6", "7"]
    assert await texts(client, made, attempt=1, after=7) == []
    await appended(client, made, line(8, "8"))
    assert await texts(client, made, attempt=1, after=7) == ["8"]
    rest = await transcript(client, made, cursor=first["nextCursor"])
    assert [each["text"] for each in rest["data"]] == list("45678")


async def test_a_position_needs_its_attempt(client: httpx.AsyncClient) -> None:
    made = await scheduled(client)
    path = f"/interviews/{made['interviewId']}/transcript"
    answer = await client.get(path, headers=AUTHORIZED, params={"after": 3})
    (fault,) = problem_of(answer, 422, "payload_invalid")["errors"]
    assert fault == {
        "field": "after", "message": "needs attempt too, because positions begin again with each attempt",
    }  # fmt: skip


@pytest.mark.parametrize("cursor", ["x", "MQ", "MS4yLjM", "LTEuMg", "MS45MjIzMzcyMDM2ODU0Nzc1ODA4", "YS5i"])
async def test_a_cursor_of_somewhere_else_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    made = await scheduled(client)
    path = f"/interviews/{made['interviewId']}/transcript"
    problem_of(await client.get(path, headers=AUTHORIZED, params={"cursor": cursor}), 422, "cursor_invalid")


async def test_a_cursor_goes_on_in_its_attempt(driver: InterviewDriver) -> None:
    made = await driver.new()
    await appended(driver.client, made, line(1, "one"), line(2, "two"))
    first = await transcript(driver.client, made, limit=1)
    await driver.fails(made)
    assert (await driver.call(made, "reopen")).status_code == 200
    again = await driver.get(made)
    assert (again["attempt"], again["transcriptLines"]) == (2, 0)
    assert await appended(driver.client, again, line(1, "again")) == (1, 1)
    assert await texts(driver.client, made) == ["again"]
    assert await texts(driver.client, made, cursor=first["nextCursor"]) == ["two"]
    assert await texts(driver.client, made, attempt=1) == ["one", "two"]
    assert await texts(driver.client, made, attempt=3) == []


async def test_the_interview_says_how_many_lines_there_are(driver: InterviewDriver) -> None:
    made = await driver.new()
    assert (await driver.get(made))["transcriptLines"] == 0
    await appended(driver.client, made, line(1), line(2))
    assert (await driver.get(made))["transcriptLines"] == 2


async def test_lines_are_taken_for_fifteen_minutes_after_the_end(driver: InterviewDriver) -> None:
    made = await driver.new()
    await driver.fails(made)
    driver.later(15 * 60)
    assert await appended(driver.client, made, line(1)) == (1, 1)
    driver.later(0.001)
    problem = problem_of(await append(driver.client, made, line(2)), 409, "interview_over")
    assert problem["interviewStatus"] == "FAILED"
    assert (await driver.get(made))["transcriptLines"] == 1


async def test_the_attempt_before_takes_lines_as_long(driver: InterviewDriver) -> None:
    """After a crash the candidate is soon back in a new room, and the first agent's last lines still arrive."""
    made = await driver.new()
    await driver.fails(made)
    driver.later(60)
    assert (await driver.join(made)).status_code == 200
    assert (await driver.get(made))["attempt"] == 2
    assert await appended(driver.client, made, line(1, "the last words")) == (1, 1)
    assert await texts(driver.client, made, attempt=1) == ["the last words"]
    assert (await driver.get(made))["transcriptLines"] == 0
    driver.later(14 * 60 + 0.001)
    problem = problem_of(await append(driver.client, made, line(2)), 409, "wrong_room")
    assert problem["roomName"] == f"{made['roomName']}-2"


async def test_another_room_is_refused(client: httpx.AsyncClient) -> None:
    made, other = await scheduled(client), await scheduled(client)
    for room in (other["roomName"], f"{made['roomName']}-2", f"{made['roomName']}-1", "room", ""):
        answer = await append(client, made, line(1), roomName=room)
        assert problem_of(answer, 409, "wrong_room")["roomName"] == made["roomName"]
    assert await texts(client, made) == []


async def test_a_full_transcript_takes_no_more(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_case, "MAX_LINES", 3)
    made = await scheduled(client)
    await appended(client, made, line(1), line(2))
    problem_of(await append(client, made, line(3), line(4)), 409, "transcript_full")
    assert await appended(client, made, line(2), line(3)) == (1, 3)
    assert await appended(client, made, line(1), line(2), line(3)) == (0, 3)
    problem_of(await append(client, made, line(4)), 409, "transcript_full")
    assert (await transcript(client, made))["data"][-1]["position"] == 3


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"text": ""}, "lines.0.text", "must not be empty"),
        ({"text": "ل" * 4_001}, "lines.0.text", "must have 4000 characters or fewer"),
        ({"text": "a\0b"}, "lines.0.text", "must not contain the character NUL"),
        ({"text": "\ud800"}, "lines.0.text", "must not contain lone surrogates"),
        ({"id": ""}, "lines.0.id", "must be 1 to 64 printable ASCII characters"),
        ({"id": "x" * 65}, "lines.0.id", "must be 1 to 64 printable ASCII characters"),
        ({"id": "سطر"}, "lines.0.id", "must be 1 to 64 printable ASCII characters"),
        ({"id": "a\n"}, "lines.0.id", "must be 1 to 64 printable ASCII characters"),
        ({"speaker": "guest"}, "lines.0.speaker", "must be 'agent' or 'candidate'"),
        ({"at": 1763802000}, "lines.0.at", "must be an RFC 3339 instant, such as 2026-11-22T09:00:00Z"),
        ({"at": "2026-11-22T09:00:00"}, "lines.0.at", "must say its time zone, as in 2026-01-31T09:00:00Z"),
        ({"emotion": "sad"}, "lines.0.emotion", "is not a field of this call: leave it out"),
    ],
)
async def test_a_line_that_is_not_valid_is_named(
    client: httpx.AsyncClient, changed: dict[str, Any], field: str, message: str
) -> None:
    made = await scheduled(client)
    body = {"roomName": made["roomName"], "agent": "agent-AJ_1", "lines": [line(1) | changed]}
    path = f"/interviews/{made['interviewId']}/transcript"
    answer = await client.post(path, headers=AUTHORIZED, content=json.dumps(body))
    assert problem_of(answer, 422, "payload_invalid")["errors"] == [{"field": field, "message": message}]
    assert await texts(client, made) == []


async def test_the_longest_are_taken(client: httpx.AsyncClient) -> None:
    made = await scheduled(client)
    longest = [line(number, "ل" * 4_000, id=f"{number:~>64}") for number in range(200)]
    assert await appended(client, made, *longest, agent="ل" * 256) == (200, 200)
    assert await texts(client, made, limit=500) == ["ل" * 4_000] * 200


async def test_calls_of_too_much_or_nothing_are_refused(client: httpx.AsyncClient) -> None:
    made = await scheduled(client)
    for lines, message in (
        ([], "must not be empty"),
        ([line(number) for number in range(201)], "must have 200 entries or fewer"),
    ):
        (fault,) = problem_of(await append(client, made, *lines), 422, "payload_invalid")["errors"]
        assert (fault["field"], fault["message"]) == ("lines", message)
    for agent in ("", "a" * 257):
        (fault,) = problem_of(await append(client, made, line(1), agent=agent), 422, "payload_invalid")["errors"]
        assert fault["field"] == "agent"
    problem_of(await append(client, made, line(1, "x" * 2_100_000)), 413, "body_too_large")


async def test_an_unknown_interview_is_not_found(client: httpx.AsyncClient) -> None:
    made = await scheduled(client) | {"interviewId": str(uuid.uuid4())}
    problem_of(await append(client, made, line(1)), 404, "interview_not_found")
    answer = await client.get(f"/interviews/{made['interviewId']}/transcript", headers=AUTHORIZED)
    problem_of(answer, 404, "interview_not_found")


async def test_what_was_said_is_kept_when_the_time_is_over(
    driver: InterviewDriver, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await driver.new(maxDuration=60)
    await driver.talk(made)
    await appended(driver.client, made, line(1))
    driver.later(61)
    await livekit_was_asked(sessions, made, at=driver.now)
    assert (await driver.complete(made, "failed")).json()["endReason"] == "MAX_DURATION_REACHED"
    assert await appended(driver.client, made, line(2, "Goodbye.")) == (1, 2)
    assert await texts(driver.client, made) == ["Hello.", "Goodbye."]

"""POST /interviews: every field, valid and invalid, and the organization's defaults."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews.schedule import render
from app.models import Interview, Organization
from tests.calls import problem_of
from tests.conftest import AUTHORIZED

NEW: dict[str, Any] = {
    "candidateId": "59faa4e3-4814-41ef-b830-a58c7ba7ae25",
    "applicationId": "1e526d64-f4e5-4353-a69f-9642959e8236",
    "jobPostId": "306bfccd-5030-46bb-b468-e5027a073b4a",
    "jobTitle": "Developer",
    "phoneNumber": "966509876543",
}
FIELDS = {
    "interviewId", "candidateId", "applicationId", "jobPostId", "participantName", "phoneNumber", "jobTitle",
    "companyName", "instructions", "maxDuration", "opensAt", "closesAt", "status", "endReason", "startedAt", "endedAt",
    "talkTime", "attempt", "roomName", "sequence", "joinAttempts", "connected", "createdAt",
    "updatedAt", "personalDataErasedAt",
}  # fmt: skip
LONE_SURROGATE = "\ud800"
OPAQUE_IDS = ("candidateId", "applicationId", "jobPostId")


def from_now(**duration: float) -> str:
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


async def post(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    """Send the body unchanged, with lone surrogates, which httpx refuses to encode."""
    body = json.dumps(NEW | changed).encode("ascii")
    return await client.post("/interviews", headers=AUTHORIZED | {"Content-Type": "application/json"}, content=body)


async def made(client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    answer = await post(client, **changed)
    assert answer.status_code == 201, answer.text
    interview: dict[str, Any] = answer.json()
    return interview


def faults(answer: httpx.Response, *, code: str = "payload_invalid") -> list[dict[str, str]]:
    """Return the errors of a refusal."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    found: list[dict[str, str]] = answer.json()["errors"]
    return found


async def count(sessions: async_sessionmaker[AsyncSession]) -> int:
    async with sessions() as session:
        return await session.scalar(select(func.count()).select_from(Interview)) or 0


async def test_location_is_the_url_of_the_new_interview(client: httpx.AsyncClient) -> None:
    answer = await post(client)
    assert answer.status_code == 201
    interview = answer.json()
    assert answer.headers["Location"] == f"/interviews/{interview['interviewId']}"
    assert interview.keys() == FIELDS
    assert interview | NEW == interview
    read = (await client.get(answer.headers["Location"], headers=AUTHORIZED)).json()
    assert read == interview | {"summary": None, "result": None, "transcriptLines": 0}


async def test_omitted_fields_come_from_the_organization(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    template = "{participantName}, {jobTitle}, {companyName}, {phoneNumber}"
    async with sessions.begin() as session:
        await session.execute(
            update(Organization).values(company_name="ACME", max_duration=900, instructions_template=template)
        )
    interview = await made(client)
    assert interview["companyName"] == "ACME"
    assert interview["maxDuration"] == 900
    assert interview["participantName"] == "Candidate"
    assert interview["instructions"] == "Candidate, Developer, ACME, {phoneNumber}"
    assert (interview["status"], interview["attempt"]) == ("READY_TO_JOIN", 1)
    nothing_yet = ("opensAt", "closesAt", "endReason", "startedAt", "endedAt")
    assert [interview[name] for name in nothing_yet] == [None] * 5
    assert (interview["talkTime"], interview["joinAttempts"], interview["connected"]) == (0, 0, [])


async def test_given_fields_override_the_organizations(client: httpx.AsyncClient) -> None:
    given = {
        "participantName": "ليلى",
        "companyName": "بنك",
        "instructions": "Be kind to {participantName}.",
        "maxDuration": 60,
        "opensAt": "2026-01-02T03:04:05+02:00",
        "closesAt": from_now(days=3000),
    }
    interview = await made(client, **given)
    for name in ("participantName", "companyName", "instructions", "maxDuration"):
        assert interview[name] == given[name]
    assert interview["opensAt"] == "2026-01-02T01:04:05.000Z"
    assert interview["closesAt"].endswith("Z")


async def test_placeholders_are_rendered_in_one_pass(client: httpx.AsyncClient) -> None:
    interview = await made(client, jobTitle="{companyName}", companyName="{jobTitle} \\1")
    assert interview["instructions"].startswith("Welcome to your interview for {companyName} at {jobTitle} \\1. ")
    assert render("{jobTitle}{other}{{jobTitle}}", {"jobTitle": "x"}) == "x{other}{x}"


@pytest.mark.parametrize("field", NEW)
async def test_required(client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], field: str) -> None:
    body = {name: value for name, value in NEW.items() if name != field}
    answer = await client.post("/interviews", headers=AUTHORIZED, json=body)
    assert [fault["field"] for fault in faults(answer)] == [field]
    assert [fault["field"] for fault in faults(await post(client, **{field: None}))] == [field]
    assert await count(sessions) == 0


ODD_TEXTS = ("a\0b", "", 5, ["a"], {"a": "b"})
# Each shows nothing. The last has one of each: a space, one that does not break, of zero width, Braille and Hangul, a
# mark without a letter, a variation selector, a tag.
BLANK = (
    " ",
    "\t\n",
    "\u00a0",
    "\u200b",
    "\u2800",
    "\u3164",
    "\u202e",
    "\u00ad\ufeff",
    " \u00a0\u200b\u2800\u3164\u0301\ufe0f\U000e0041",
)
ODD_IDS = (*ODD_TEXTS, "a b", "x" * 129, "é", "ab\n", "\x7f")
ODD_INSTANTS = (
    "2099-11-22T09:00:00", "2026-13-22T09:00:00Z", "soon", "NaN", 1e300, True, "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
)  # fmt: skip
REFUSED: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(OPAQUE_IDS, ODD_IDS),
    "participantName": (*ODD_TEXTS, *BLANK, "x" * 257, "ل" * 129, None),
    "jobTitle": (*ODD_TEXTS, *BLANK, "x" * 501),
    "companyName": (*ODD_TEXTS, *BLANK, "x" * 501),
    "instructions": (*ODD_TEXTS, *BLANK),
    "phoneNumber": (
        *(
            *ODD_TEXTS,
            *BLANK,
            "call me",
            "+966 50 987 6543 ext",
            "1234",
            "1" * 16,
            "9665\x0009876543",
            True,
            -966509876543,
        ),
        *(
            "966509876543.0",
            "509876543E+3",
            966509876543.5,
            2**53,
            float("1e300"),
            "0509876543 / 0501112222",
            " " * 64 + "12345",
        ),
    ),
    "maxDuration": (59, 14_401, 10**30, -1800, 1800.5, "1800", True, [1800]),
    "opensAt": ODD_INSTANTS,
    "closesAt": ODD_INSTANTS,
    "status": ("COMPLETED",),
    "interviewId": (str(uuid.UUID(int=1)),),
    "somethingElse": (None, 1),
}
ACCEPTED: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(OPAQUE_IDS, ("x" * 128, "!~#{}")),
    "phoneNumber": (
        *("+966 50 987-6543", "00966 (50) 987.6543", "٩٦٦٥٠٩٨٧٦٥٤٣", "1" * 15, "\u202a+966 50 987 6543\u202c"),
        *("+966\u00a050\u2011987\u22126543", "＋９６６（５０）９８７６５４３", "९६६५०९८७६५४३"),  # noqa: RUF001 - digits of other scripts
    ),
    "participantName": ("x" * 256, "ل" * 128, "🙂", "\u200fأ", "-", "\u202e."),
    "jobTitle": ("ل" * 500,),
    "companyName": ("x" * 500,),
    "maxDuration": (60, 14_400, 1800.0),
}


@pytest.mark.parametrize("field", REFUSED)
async def test_refused(client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], field: str) -> None:
    for value in REFUSED[field]:
        answer = await post(client, **{field: value})
        assert {fault["field"] for fault in faults(answer)} == {field}, value
    assert await count(sessions) == 0


@pytest.mark.parametrize("field", [*NEW, "participantName", "companyName", "instructions", "opensAt"])
async def test_a_lone_surrogate_is_refused(client: httpx.AsyncClient, field: str) -> None:
    """JSON can escape it, UTF-8 and Postgres can't encode it."""
    (fault,) = faults(await post(client, **{field: f"a{LONE_SURROGATE}b"}))
    assert fault["field"] == field


@pytest.mark.parametrize("field", ACCEPTED)
async def test_accepted(client: httpx.AsyncClient, field: str) -> None:
    """Also, every accepted interview can be joined."""
    for value in ACCEPTED[field]:
        interview = await made(client, **{field: value})
        assert interview[field] == value
        assert (await client.post(f"/interviews/{interview['interviewId']}/join")).status_code == 200


@pytest.mark.parametrize("number", [966509876543, 966509876543.0])
async def test_a_json_number_is_its_digits(client: httpx.AsyncClient, number: float) -> None:
    assert (await made(client, phoneNumber=number))["phoneNumber"] == "966509876543"


async def test_what_is_wrong_with_a_phone_number_is_named(client: httpx.AsyncClient) -> None:
    """By its character and its place, in a batch by its interview too. Nothing else of the number is in the answer."""
    batch = {"interviews": [NEW, NEW | {"phoneNumber": "509876543E+3"}]}
    (fault,) = faults(await client.post("/interviews/batch", headers=AUTHORIZED, json=batch))
    message = 'must be a phone number: the character "E" at position 10 can\'t be part of it'
    assert fault == {"field": "interviews.1.phoneNumber", "message": message}
    for number, message in {
        "966509876543.0": 'must be a phone number: the character "." at position 13 makes it a decimal number, '
        "as in a spreadsheet",
        "1" * 16: "must have 5 to 15 digits",
        "12345" + " " * 60: "must have 64 characters or fewer",
    }.items():
        assert faults(await post(client, phoneNumber=number)) == [{"field": "phoneNumber", "message": message}]


async def test_null_means_omitted(client: httpx.AsyncClient) -> None:
    left_out = dict.fromkeys(("companyName", "instructions", "maxDuration", "opensAt", "closesAt"))
    interview = await made(client, **left_out)
    assert interview["companyName"]
    assert interview["instructions"]


@pytest.mark.parametrize(("opens", "closes"), [(2, 1), (1, 1), (None, -1), (-2, -1)], ids=str)
async def test_closes_after_it_opens_and_in_the_future(
    client: httpx.AsyncClient, opens: float | None, closes: float
) -> None:
    now = datetime.now(UTC)
    opens_at = None if opens is None else (now + timedelta(hours=opens)).isoformat()
    answer = await post(client, opensAt=opens_at, closesAt=(now + timedelta(hours=closes)).isoformat())
    (fault,) = faults(answer)
    assert "closesAt" in fault["field"] + fault["message"]


async def test_an_invalid_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = AUTHORIZED | {"Content-Type": "application/json"}
    half = (b"", b" \n", b"{", b"hello", b"{}{}", b"\xff\xfe", b"[" * 20_000)
    for body in (*half, b"[]", b"[{}]", b'"{}"', b"null", b"5", b'{"\\ud800": 1}'):
        answer = await client.post("/interviews", headers=headers, content=body)
        assert faults(answer), body[:20]
        unknown = await client.post("/interviews", content=body)
        assert unknown.status_code == 401  # nothing is read of somebody unknown


async def test_a_too_large_body_is_refused(client: httpx.AsyncClient) -> None:
    answer = await post(client, instructions="x" * 1_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_all_errors_are_named_and_no_value_is_echoed(client: httpx.AsyncClient) -> None:
    answer = await post(client, phoneNumber="my number", maxDuration=1, candidateId="two words", jobTitle="")
    named = {fault["field"] for fault in faults(answer)}
    assert named == {"phoneNumber", "maxDuration", "candidateId", "jobTitle"}
    assert "my number" not in answer.text
    assert "two words" not in answer.text


@pytest.mark.parametrize("instructions", ["x" * 8000, "ل" * 4000, '"' * 4000, "x" * 60_000])
async def test_too_long_texts_are_refused(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], instructions: str
) -> None:
    answer = await post(client, instructions=instructions)
    assert answer.status_code == 422
    assert answer.json()["code"] == "token_too_large"
    assert "Shorten the instructions" in answer.json()["detail"]
    assert await count(sessions) == 0


async def test_texts_shortened_as_the_error_says_fit(client: httpx.AsyncClient) -> None:
    detail = (await post(client, instructions="x" * 8000)).json()["detail"]
    excess = int(detail.split("by some ")[1].split()[0])
    interview = await made(client, instructions="x" * (8000 - excess))
    ticket = (await client.post(f"/interviews/{interview['interviewId']}/join")).json()
    assert len(ticket["participantToken"]) <= 8000


async def test_what_is_not_documented_is_not_taken(client: httpx.AsyncClient) -> None:
    """Models also accept Python names in code; callers may use the documented names only."""
    body = {name: value for name, value in NEW.items() if name != "jobTitle"} | {"job_title": "Developer"}
    answer = await client.post("/interviews", headers=AUTHORIZED, json=body)
    problem = problem_of(answer, 422, "payload_invalid")
    assert {each["field"] for each in problem["errors"]} == {"jobTitle", "job_title"}

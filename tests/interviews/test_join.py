"""POST /interviews/{id}/join: what a candidate's frontend gets, and what the agent then reads."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.api.schemas import ParticipantMetadata
from app.core.settings import Settings
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.schedule import ensure_default_organization
from app.livekit.access_tokens import signer_of
from app.models import JoinRequest, RefusedJoins
from tests import livekit_webhooks
from tests.calls import claims_of, deliver, problem_of, scheduled
from tests.conftest import AUTHORIZED

NEW: dict[str, Any] = {
    "candidateId": "cand-1",
    "applicationId": "app-1",
    "jobPostId": "job-1",
    "jobTitle": "مطوّر خلفية أول",
    "phoneNumber": "+966 50 987-6543",
    "participantName": "ليلى العتيبي",
    "companyName": "بنك الشرق",
    "instructions": 'مرحبًا بكِ.\nSay "hello" \\ ١٢٣ 👋',
    "maxDuration": 900,
}
# The example of the seed, participant-metadata.md, unchanged.
SEED = {
    "candidateId": "59faa4e3-4814-41ef-b830-a58c7ba7ae25",
    "participantName": "Candidate",
    "phoneNumber": "966509876543",
    "jobTitle": "Senior Backend Developer - Fintech",
    "interviewId": "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9",
    "applicationId": "1e526d64-f4e5-4353-a69f-9642959e8236",
    "jobPostId": "306bfccd-5030-46bb-b468-e5027a073b4a",
    "companyName": "MENA Bank",
    "instructions": (
        "Welcome to your interview for Senior Backend Developer - Fintech at MENA Bank. "
        "Please speak clearly and answer all questions to the best of your ability."
    ),
    "maxDuration": 1800,
    "status": "READY_TO_JOIN",
}
CONTENT_TYPES: tuple[dict[str, str], ...] = (
    {},
    *(
        {"Content-Type": name}
        for name in ("application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "nonsense")
    ),
)


async def schedule(client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    return await scheduled(client, **NEW | changed)


async def join(client: httpx.AsyncClient, interview_id: object, **request: Any) -> httpx.Response:
    return await client.post(f"/interviews/{interview_id}/join", **request)


def claims_in(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return claims_of(answer.json()["participantToken"])


async def answers_of_joins(sessions: async_sessionmaker[AsyncSession], interview_id: str) -> list[tuple[int, str]]:
    """Return the attempt and the answer of each join in order, those that are only counted last."""
    stored, counted = JoinRequest, RefusedJoins
    own = select(stored.attempt, stored.answer).where(stored.interview_id == uuid.UUID(interview_id))
    rest = select(counted.attempt, counted.answer, counted.number).where(
        counted.interview_id == uuid.UUID(interview_id)
    )
    async with sessions() as session:
        found = [(row.attempt, row.answer) for row in await session.execute(own.order_by(stored.id))]
        rows = await session.execute(rest.order_by(counted.id))
        return found + [(row.attempt, row.answer) for row in rows for _ in range(row.number)]


async def test_the_answer_is_the_join_response_and_nothing_else(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    before = datetime.now(UTC).replace(microsecond=0)
    answer = await join(client, made["interviewId"])
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    found = answer.json()
    claims = claims_in(answer)
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    assert before <= expires_at - timedelta(minutes=10) <= datetime.now(UTC)
    assert found == {
        "serverUrl": "ws://127.0.0.1:7880",
        "participantToken": found["participantToken"],
        "candidateId": "cand-1",
        "participantName": NEW["participantName"],
        "jobTitle": NEW["jobTitle"],
        "interviewId": made["interviewId"],
        "applicationId": "app-1",
        "jobPostId": "job-1",
        "companyName": NEW["companyName"],
        "instructions": NEW["instructions"],
        "maxDuration": 900,
        "status": "READY_TO_JOIN",
        "roomName": f"interview-{made['interviewId']}",
        "tokenExpiresAt": expires_at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }


async def test_the_token_is_for_this_candidate_and_this_room(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    claims = claims_in(await join(client, made["interviewId"]))
    assert (claims["sub"], claims["name"]) == ("candidate-cand-1", NEW["participantName"])
    assert claims["video"]["room"] == f"interview-{made['interviewId']}"
    assert claims["video"]["canUpdateOwnMetadata"] is False
    assert claims["roomConfig"] == {"emptyTimeout": 300, "departureTimeout": 125}


async def test_the_agent_reads_every_text_unchanged(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    metadata = json.loads(claims_in(await join(client, made["interviewId"]))["metadata"])
    assert metadata == NEW | {"interviewId": made["interviewId"], "status": "READY_TO_JOIN"}


async def test_the_demos_metadata_is_the_seeds_example(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], settings: Settings
) -> None:
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        assert await ensure_demo(
            session, organization_id=organization_id, now=datetime.now(UTC), signer=signer_of(settings)
        )
    metadata = json.loads(claims_in(await join(client, DEMO_ID))["metadata"])
    assert metadata == SEED
    assert list(metadata) == list(SEED)
    assert list(metadata) == [field.alias for field in ParticipantMetadata.model_fields.values()]
    assert ParticipantMetadata.model_validate(metadata).model_dump(mode="json", by_alias=True) == metadata


ACCEPTED = (
    b"",
    b" \r\n",
    b"{}",
    b' {"phoneNumber": "966509876543"}\n',
    b'{"phoneNumber": 966509876543}',
    b'{"phoneNumber": null}',
    b"{" + b" " * (64 * 1024 - 2) + b"}",
)


async def test_accepted_bodies(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    for body, headers in product(ACCEPTED, CONTENT_TYPES):
        claims = claims_in(await join(client, made["interviewId"], content=body, headers=headers))
        assert claims["video"]["room"] == made["roomName"]
        assert claims["sub"] == "candidate-cand-1"
        assert json.loads(claims["metadata"])["phoneNumber"] == NEW["phoneNumber"]


JUNK = (
    (b"junk-4711", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b"null", "body"),
    (b"4711", "body"),
    (b'"4711"', "body"),
    (b"\xff4711", "body"),
    (b"[" * 60_000, "body"),
    (b'{"phoneNumber": true}', "phoneNumber"),
    (b'{"phoneNumber": ["4711"]}', "phoneNumber"),
    (b'{"phoneNumber": {"a": "4711"}}', "phoneNumber"),
)


async def test_junk_is_refused_by_field_and_not_echoed(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    for (body, field), headers in product(JUNK, CONTENT_TYPES):
        answer = await join(client, made["interviewId"], content=body, headers=headers)
        found = problem_of(answer, 422, "payload_invalid")
        assert [fault["field"] for fault in found["errors"]] == [field]
        assert "4711" not in str(found["errors"])  # a random requestId may contain it


async def test_a_hundred_kilobytes_are_too_many(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    answer = await join(client, made["interviewId"], content=b'{"x": "' + b"x" * 100_000 + b'"}')
    problem_of(answer, 413, "body_too_large")


async def test_too_early(client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]) -> None:
    opens_at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    made = await schedule(client, opensAt=opens_at.isoformat())
    answer = await join(client, made["interviewId"])
    found = problem_of(answer, 409, "too_early")
    assert datetime.fromisoformat(found["opensAt"]) == opens_at
    assert 3000 <= int(answer.headers["Retry-After"]) <= 3601
    assert "participantToken" not in answer.text
    assert await answers_of_joins(sessions, made["interviewId"]) == [(1, "too_early")]


async def test_over(client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]) -> None:
    made = await schedule(client)
    await join(client, made["interviewId"])
    assert (await client.post(f"/interviews/{made['interviewId']}/cancel", headers=AUTHORIZED)).status_code == 200
    found = problem_of(await join(client, made["interviewId"]), 409, "interview_over")
    assert found["interviewStatus"] == "CANCELLED"
    assert await answers_of_joins(sessions, made["interviewId"]) == [(1, "TOKEN_ISSUED"), (1, "interview_over")]


async def test_joins_that_compared_nothing_are_no_attempts(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await schedule(client)
    for _ in range(3):
        await join(client, made["interviewId"])
    await client.post(f"/interviews/{made['interviewId']}/cancel", headers=AUTHORIZED)
    for _ in range(2):
        await join(client, made["interviewId"])
    read = await client.get(f"/interviews/{made['interviewId']}", headers=AUTHORIZED)
    assert read.json()["joinAttempts"] == 3
    assert (
        await answers_of_joins(sessions, made["interviewId"]) == [(1, "TOKEN_ISSUED")] * 3 + [(1, "interview_over")] * 2
    )


async def test_unknown_and_garbage_ids(client: httpx.AsyncClient) -> None:
    for key in ("00000000-0000-4000-8000-000000000000", "garbage", "1", "%00", "c6aec8f5-592b-4b90-b7fd", "x" * 3000):
        problem_of(await join(client, key), 404, "interview_not_found")
        problem_of(await join(client, key, json={"phoneNumber": "966509876543"}), 404, "interview_not_found")


async def test_a_rejoin_of_a_live_interview_gets_the_same_room(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    first = claims_in(await join(client, made["interviewId"]))
    now = datetime.now(UTC)
    candidate = livekit_webhooks.participant("PA_1", "candidate-cand-1", joined_at=now)
    agent = livekit_webhooks.participant("PA_2", "agent-AJ_1", joined_at=now, kind="AGENT")
    gone = livekit_webhooks.participant("PA_1", "candidate-cand-1", joined_at=now, reason="CLIENT_INITIATED")
    for who, name, status in (
        (candidate, "participant_joined", "WAITING_FOR_AGENT"),
        (agent, "participant_joined", "IN_PROGRESS"),
        (gone, "participant_left", "RECONNECTING"),
    ):
        event = livekit_webhooks.event(name, room=made["roomName"], at=now, participant=who)
        assert (await deliver(client, event)).json() == {"result": "recorded"}
        answer = await join(client, made["interviewId"])
        claims = claims_in(answer)
        assert (claims["sub"], claims["video"]) == (first["sub"], first["video"])
        assert answer.json()["roomName"] == made["roomName"]
        assert answer.json()["status"] == json.loads(claims["metadata"])["status"] == status

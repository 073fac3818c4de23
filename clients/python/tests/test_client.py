import asyncio
import email.utils
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import pytest
from conftest import INTERVIEW_ID, Answer, Service

from interview_agent import (
    Checkpoint,
    Conflict,
    Context,
    Forbidden,
    Gone,
    InterviewClient,
    InvalidRequest,
    NotFound,
    ServiceError,
    ServiceUnavailable,
    TranscriptLine,
    Unauthorized,
)

ROOM = f"interview-{INTERVIEW_ID}"


@pytest.fixture
async def client(service: Service) -> AsyncIterator[InterviewClient]:
    async with InterviewClient(service.url + "/", "ik_key") as client:
        yield client


async def test_context_is_read_with_the_key(client: InterviewClient, service: Service) -> None:
    service.answers["context"] = [Answer(body={"context": {"questions": []}, "secondsLeft": 12.5})]
    assert await client.context(INTERVIEW_ID) == Context({"questions": []}, 12.5)
    [request] = service.requests
    assert (request.method, request.path) == ("GET", f"/interviews/{INTERVIEW_ID}/context")
    assert request.headers["authorization"] == "Bearer ik_key"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_transient_answers_are_repeated(client: InterviewClient, service: Service, status: int) -> None:
    service.answers["context"] = [Answer(status, "busy"), Answer(body={"context": 1})]
    assert await client.context(INTERVIEW_ID) == Context(1)
    assert len(service.requests) == 2


async def test_a_connection_cut_between_request_and_answer_is_repeated(
    client: InterviewClient, service: Service
) -> None:
    service.answers["complete"] = [Answer(is_cut=True), Answer()]
    await client.complete(INTERVIEW_ID, room_name=ROOM, summary="good", result={"score": 4})
    first, second = service.requests
    assert first.body == second.body
    assert first.body == {"roomName": ROOM, "outcome": "completed", "summary": "good", "result": {"score": 4}}


async def test_retry_after_is_kept(client: InterviewClient, service: Service) -> None:
    service.answers["context"] = [Answer(503, headers={"Retry-After": "1"}), Answer(body={"context": None})]
    loop = asyncio.get_running_loop()
    before = loop.time()
    await client.context(INTERVIEW_ID)
    assert loop.time() - before >= 1


async def test_retry_after_may_be_a_date(client: InterviewClient, service: Service) -> None:
    at = email.utils.format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    service.answers["context"] = [Answer(503, headers={"Retry-After": at})]
    with pytest.raises(ServiceUnavailable, match="HTTP 503 after 1 tries"):
        await client.context(INTERVIEW_ID)


async def test_an_unreadable_retry_after_is_passed_over(client: InterviewClient, service: Service) -> None:
    service.answers["context"] = [Answer(503, headers={"Retry-After": "soon"}), Answer(body={"context": 1})]
    assert await client.context(INTERVIEW_ID) == Context(1)


async def test_retries_end(client: InterviewClient, service: Service) -> None:
    service.answers["context"] = [Answer(503)]
    with pytest.raises(ServiceUnavailable, match="HTTP 503"):
        await client.context(INTERVIEW_ID, retry_for=0.1)


async def test_a_service_that_is_away_is_named() -> None:
    async with InterviewClient("http://127.0.0.1:9", "ik_key", retry_for=0) as client:
        with pytest.raises(ServiceUnavailable, match="ConnectError"):
            await client.context(INTERVIEW_ID)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (418, ServiceError),
    ],
)
async def test_refusals_are_typed_and_not_repeated(
    client: InterviewClient, service: Service, status: int, kind: type[ServiceError]
) -> None:
    problem = {"code": "the_code", "detail": "What to do.", "requestId": "r-1"}
    service.answers["complete"] = [Answer(status, problem)]
    with pytest.raises(kind) as raised:
        await client.complete(INTERVIEW_ID, room_name=ROOM)
    error = raised.value
    assert (error.status, error.code, error.detail, error.request_id) == (status, "the_code", "What to do.", "r-1")
    assert len(service.requests) == 1


@pytest.mark.parametrize("answer", [Answer(200, "<html>"), Answer(302), Answer(404, "nothing here"), Answer(200, [1])])
async def test_an_answer_of_another_server_is_named(client: InterviewClient, service: Service, answer: Answer) -> None:
    service.answers["context"] = [answer]
    with pytest.raises(ServiceError, match="Check the service's address"):
        await client.context(INTERVIEW_ID)


async def test_no_checkpoint_is_none(client: InterviewClient) -> None:
    assert await client.checkpoint(INTERVIEW_ID) is None


async def test_an_unknown_interview_is_no_missing_checkpoint(client: InterviewClient, service: Service) -> None:
    service.answers["checkpoint"] = [Answer(404, {"code": "interview_not_found", "detail": "No."})]
    with pytest.raises(NotFound):
        await client.checkpoint(INTERVIEW_ID)


async def test_a_checkpoint_goes_and_comes(client: InterviewClient, service: Service) -> None:
    service.answers["checkpoint"] = [Answer(204, ""), Answer(body={"agent": "a", "sequence": 2, "state": [1]})]
    await client.save_checkpoint(INTERVIEW_ID, room_name=ROOM, checkpoint=Checkpoint("a", 2, [1]))
    assert service.requests[0].body == {"roomName": ROOM, "agent": "a", "sequence": 2, "state": [1]}
    assert await client.checkpoint(INTERVIEW_ID) == Checkpoint("a", 2, [1])


async def test_a_long_transcript_goes_in_parts(client: InterviewClient, service: Service) -> None:
    at = datetime(2026, 11, 28, 12, tzinfo=timezone(timedelta(hours=3)))
    lines = [TranscriptLine(str(n), "candidate", "نعم", at) for n in range(401)]
    await client.append_transcript(INTERVIEW_ID, room_name=ROOM, agent="a", lines=lines)
    assert [len(request.body["lines"]) for request in service.requests] == [200, 200, 1]
    assert service.requests[2].body == {
        "roomName": ROOM,
        "agent": "a",
        "lines": [{"id": "400", "speaker": "candidate", "text": "نعم", "at": "2026-11-28T09:00:00Z"}],
    }

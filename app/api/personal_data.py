"""A person's data in one call: all that an erasure would erase."""

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from app import models
from app.api.dependencies import AdminCaller, CurrentServices, InterviewId
from app.api.routes import ApiRoute
from app.api.transcript import Speaker
from app.api.types import Instant, OpaqueId, Shape
from app.core.database import transaction
from app.interviews.personal_data import SECTIONS, Sessions, candidates_interviews, read_interview, read_section
from app.interviews.queries import find_interview
from app.lifecycle import Outcome, Role

router = APIRouter(route_class=ApiRoute, tags=["recruiter"])

Hash = Annotated[bytes, PlainSerializer(bytes.hex, return_type=str), WithJsonSchema({"type": "string"})]
"""As hexadecimal digits."""


class StoredConnection(Shape):
    """A session of a participant in the interview's rooms."""

    sid: str
    attempt: int
    identity: str
    role: Role
    joined_at: Instant
    left_at: Instant | None
    leave_reason: str | None
    outcome: Outcome | None


class StoredReport(Shape):
    """A report of the agent."""

    attempt: int
    outcome: Outcome
    said_at: Instant
    last_said_at: Instant
    summary: str | None
    result: Any | None


class StoredJoinRequest(Shape):
    """A join. `address` is a keyed hash of the caller's address."""

    at: Instant
    attempt: int
    answer: str
    address: Hash | None


class StoredWrongTry(Shape):
    """A wrong phone number or invitation in the last hour. `address` is a keyed hash of the caller's address."""

    at: Instant
    address: Hash


class StoredTimelineEntry(Shape):
    """An event on the timeline."""

    at: Instant
    attempt: int
    kind: Literal["livekit", "call", "service", "status"]
    name: str
    detail: dict[str, Any]


class StoredTranscriptLine(Shape):
    """A line of the transcript. `saidAt` is by the agent's clock."""

    attempt: int
    position: int
    agent: str
    line_id: str
    speaker: Speaker
    text: str
    said_at: Instant


class StoredCheckpoint(Shape):
    """The last checkpoint: the agent's own JSON."""

    attempt: int
    agent: str
    earlier_agents: list[str]
    sequence: int
    state: Any
    updated_at: Instant


class StoredAnswer(Shape):
    """A response that is kept for an Idempotency-Key, for a day."""

    key: str
    created_at: Instant
    fingerprint: Hash = Field(description="A hash of the request")
    body: list[dict[str, Any]] = Field(description="What it says of this interview")


SECTION_MODELS: dict[str, type[Shape]] = {
    "connections": StoredConnection,
    "reports": StoredReport,
    "join_requests": StoredJoinRequest,
    "wrong_tries": StoredWrongTry,
    "timeline": StoredTimelineEntry,
    "transcript_lines": StoredTranscriptLine,
    "checkpoints": StoredCheckpoint,
    "idempotency_keys": StoredAnswer,
}


class StoredInterview(Shape):
    """The interview's own columns."""

    interview_id: uuid.UUID
    candidate_id: str
    application_id: str
    job_post_id: str
    participant_name: str
    phone_number: str
    job_title: str
    company_name: str
    instructions: str
    search_text: str = Field(description="What `q` searches, made of name, job title and phone number")
    context: Any | None
    invite_hash: Hash | None
    invite_expires_at: Instant | None
    created_at: Instant
    personal_data_erased_at: Instant | None

    @classmethod
    def of(cls, interview: models.Interview) -> Self:
        return cls.copy_of(interview, interview_id=interview.id)


class PersonalData(StoredInterview):
    """All that is stored of the people of an interview, and that an erasure erases."""

    connections: list[StoredConnection]
    reports: list[StoredReport]
    join_requests: list[StoredJoinRequest]
    wrong_tries: list[StoredWrongTry]
    timeline: list[StoredTimelineEntry]
    transcript_lines: list[StoredTranscriptLine]
    checkpoints: list[StoredCheckpoint]
    idempotency_keys: list[StoredAnswer]


class CandidatesPersonalData(Shape):
    """The personal data of each of a candidate's interviews."""

    data: list[PersonalData]


class PersonalDataQuery(Shape, populate_by_name=False):
    """Whose data to read."""

    candidate_id: OpaqueId


@router.get(
    "/interviews/{interview_id}/personal-data",
    operation_id="getPersonalData",
    summary="Get the personal data of an interview",
    response_model=PersonalData,
)
async def get_personal_data(interview_id: InterviewId, caller: AdminCaller, services: CurrentServices) -> Response:
    """All that `DELETE` on the same path would erase, for a person who asks what is stored.

    It is sent while it is read: a response that breaks off is incomplete.
    """
    # in a transaction of its own: a call that holds one connection must not wait for a second
    async with transaction(services.sessions) as session:
        await find_interview(session, organization_id=caller.organization_id, interview_id=interview_id)
    return await _streamed(_encoded(services.sessions, interview_id))


@router.get(
    "/personal-data",
    operation_id="getCandidatesPersonalData",
    summary="Get the personal data of all of a candidate's interviews",
    response_model=CandidatesPersonalData,
)
async def get_candidates_personal_data(
    caller: AdminCaller, services: CurrentServices, query: Annotated[PersonalDataQuery, Query()]
) -> Response:
    """All interviews with this candidateId, erased ones too. Without any, the list is empty.

    It is sent while it is read: a response that breaks off is incomplete.
    """
    ids = candidates_interviews(
        services.sessions, organization_id=caller.organization_id, candidate_id=query.candidate_id
    )
    return await _streamed(_encoded_list(services.sessions, ids))


async def _streamed(parts: AsyncIterator[str]) -> StreamingResponse:
    """Return the response once its first part was read: until then an error is a problem document."""
    first = await anext(parts)

    async def content() -> AsyncIterator[str]:
        yield first
        async for part in parts:
            yield part

    return StreamingResponse(content(), media_type="application/json")


async def _encoded_list(sessions: Sessions, ids: AsyncIterator[uuid.UUID]) -> AsyncIterator[str]:
    separator = opening = '{"data":['
    async for interview_id in ids:
        yield separator
        separator = ","
        async for part in _encoded(sessions, interview_id):
            yield part
    yield "]}" if separator == "," else opening + "]}"


async def _encoded(sessions: Sessions, interview_id: uuid.UUID) -> AsyncIterator[str]:
    """Yield the JSON of PersonalData in parts: an attempt may have thousands of rows, and a report 256 KB."""
    interview = await read_interview(sessions, interview_id=interview_id)
    yield StoredInterview.of(interview).model_dump_json(by_alias=True).removesuffix("}")
    for name, section in SECTIONS.items():
        yield f',"{to_camel(name)}":['
        separator = ""
        async for page in read_section(sessions, section, interview=interview):
            yield separator + ",".join(SECTION_MODELS[name](**row).model_dump_json(by_alias=True) for row in page)
            separator = ","
        yield "]"
    yield "}"

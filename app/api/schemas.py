"""Models of requests and responses: camelCase, times as RFC 3339 in UTC ending in `At`, durations in seconds."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, field_validator

from app.api.types import (
    TEXT_OR_NUMBER,
    GivenInstant,
    GivenPhoneNumber,
    Instant,
    MaxDuration,
    OpaqueId,
    ParticipantName,
    PhoneNumber,
    Shape,
    Text,
    VisibleText,
    in_the_future,
    json_within,
)
from app.core.timestamps import rfc3339
from app.interviews.actions import Completion
from app.interviews.join import JoinResult
from app.interviews.queries import View
from app.interviews.schedule import DEFAULT_PARTICIPANT_NAME, InterviewSpec
from app.interviews.timeline import Entry
from app.lifecycle import EndReason, Outcome, PublicStatus, Role
from app.models import Report

MAX_RESULT_SIZE = 256 * 1024  # bytes of UTF-8
MAX_CONTEXT_SIZE = 64 * 1024  # bytes of UTF-8


class JoinRequest(Shape, extra="forbid"):
    """A candidate's credentials. Every field is optional."""

    phone_number: GivenPhoneNumber | None = Field(
        default=None,
        description="The candidate's, in any format: required by the join policy 'phone'. May be a JSON number.",
        json_schema_extra=TEXT_OR_NUMBER,
        examples=["+966 50 987 6543"],
    )
    invite: str | None = Field(
        default=None,
        description="The secret of the invitation link: required by the join policy 'invite', accepted by 'phone'",
        examples=["inv_0f9c1d2e3b4a59687786a5b4c3d2e1f001122334"],
    )


class ParticipantMetadata(Shape):
    """The JSON in participant.metadata, which the agent reads. It comes with the candidate's token."""

    candidate_id: str
    participant_name: str
    phone_number: str
    job_title: str
    interview_id: uuid.UUID
    application_id: str
    job_post_id: str
    company_name: str
    instructions: str
    max_duration: int = Field(description="seconds")
    status: PublicStatus = Field(description="When the token was issued")


class JoinResponse(Shape):
    """What a frontend needs to connect. participant.metadata has the same for the agent, plus the phone number."""

    server_url: str = Field(examples=["ws://127.0.0.1:7880"])
    participant_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."])
    candidate_id: str = Field(examples=["59faa4e3-4814-41ef-b830-a58c7ba7ae25"])
    participant_name: str = Field(examples=["Candidate"])
    job_title: str = Field(examples=["Senior Backend Developer - Fintech"])
    interview_id: uuid.UUID = Field(examples=["c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])
    application_id: str = Field(examples=["1e526d64-f4e5-4353-a69f-9642959e8236"])
    job_post_id: str = Field(examples=["306bfccd-5030-46bb-b468-e5027a073b4a"])
    company_name: str = Field(examples=["MENA Bank"])
    instructions: str = Field(
        examples=[
            "Welcome to your interview for Senior Backend Developer - Fintech at MENA Bank. Please speak clearly."
        ]
    )
    max_duration: int = Field(description="seconds", examples=[1800])
    status: PublicStatus = Field(examples=["READY_TO_JOIN"])
    room_name: str = Field(examples=["interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])
    token_expires_at: Instant

    @staticmethod
    def encode(result: JoinResult, *, server_url: str) -> bytes:
        """Return the response as JSON. Not through the model: that takes longer than signing the token."""
        interview = result.snapshot
        return orjson.dumps(
            {
                "serverUrl": server_url,
                "participantToken": result.token,
                "candidateId": interview.candidate_id,
                "participantName": interview.participant_name,
                "jobTitle": interview.job_title,
                "interviewId": str(interview.id),
                "applicationId": interview.application_id,
                "jobPostId": interview.job_post_id,
                "companyName": interview.company_name,
                "instructions": interview.instructions,
                "maxDuration": interview.max_duration,
                "status": interview.status,
                "roomName": interview.room_name,
                "tokenExpiresAt": rfc3339(result.expires_at),
            }
        )


FutureInstant = Annotated[GivenInstant, AfterValidator(in_the_future)]
Context = Annotated[JsonValue, json_within(MAX_CONTEXT_SIZE)]


class NewInterview(Shape, extra="forbid"):
    """An interview to schedule. Omitted fields get the organization's defaults."""

    candidate_id: OpaqueId = Field(examples=["59faa4e3-4814-41ef-b830-a58c7ba7ae25"])
    application_id: OpaqueId = Field(examples=["1e526d64-f4e5-4353-a69f-9642959e8236"])
    job_post_id: OpaqueId = Field(examples=["306bfccd-5030-46bb-b468-e5027a073b4a"])
    job_title: VisibleText = Field(max_length=500, examples=["Senior Backend Developer - Fintech"])
    phone_number: PhoneNumber
    participant_name: ParticipantName = Field(
        default=DEFAULT_PARTICIPANT_NAME, description="At most 256 bytes of UTF-8"
    )
    company_name: VisibleText | None = Field(default=None, max_length=500, examples=["MENA Bank"])
    instructions: VisibleText | None = Field(
        default=None, description="For the agent; default: rendered from the organization's template"
    )
    max_duration: MaxDuration | None = Field(default=None, description="seconds")
    opens_at: GivenInstant | None = Field(default=None, description="No one can join before")
    closes_at: GivenInstant | None = Field(
        default=None, description="A candidate who has not joined by then is a no-show"
    )
    context: Context = Field(
        default=None,
        description="Any JSON for the agent only, 64 KB at most: rubric, questions, CV. Never part of a token.",
    )

    @field_validator("closes_at")
    @classmethod
    def _closes_after_it_opens(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        opens_at = info.data.get("opens_at")
        if value and opens_at and value <= opens_at:
            raise ValueError("must be after opensAt")
        return in_the_future(value)

    def spec(self, *, field: str = "instructions") -> InterviewSpec:
        """`field` is the name of the field for errors about the texts."""
        return InterviewSpec(**self.model_dump(), field=field)


class ConnectedParticipant(Shape):
    """A participant who is in the interview's room now."""

    identity: str
    role: Role
    joined_at: Instant


class Interview(Shape):
    """An interview. startedAt, endedAt and talkTime are those of the current attempt."""

    interview_id: uuid.UUID
    candidate_id: str
    application_id: str
    job_post_id: str
    participant_name: str
    phone_number: str
    job_title: str
    company_name: str
    instructions: str
    max_duration: int = Field(description="seconds")
    opens_at: Instant | None
    closes_at: Instant | None
    status: PublicStatus
    end_reason: EndReason | None = Field(description="Why the attempt ended; null if the status alone explains it")
    started_at: Instant | None = Field(description="When candidate and agent were first connected at the same time")
    ended_at: Instant | None
    talk_time: int = Field(description="Seconds with both candidate and agent connected")
    sequence: int = Field(description="Counts the changes; events with a lower one are older")
    attempt: int = Field(description="1, or higher after the interview was reopened")
    room_name: str
    join_attempts: int = Field(description="Join calls of all attempts that got a token or showed a wrong credential")
    connected: list[ConnectedParticipant] = Field(description="Participants in the room now")
    created_at: Instant
    updated_at: Instant
    personal_data_erased_at: Instant | None = Field(
        description="Set once texts, phone number, report and transcript are erased, and identities replaced by roles"
    )

    @classmethod
    def of(cls, view: View, **more: Any) -> Self:
        """`more` are the fields of a subclass."""
        return cls.copy_of(
            view.interview,
            interview_id=view.interview.id,
            status=view.status,
            talk_time=round(view.talk_time.total_seconds()),
            join_attempts=view.join_attempts,
            connected=[
                ConnectedParticipant.copy_of(visit.connection, joined_at=visit.joined_at) for visit in view.connected
            ],
            **more,
        )


class InterviewDetail(Interview):
    """An interview with its agent's report, and the length of its transcript."""

    summary: str | None = Field(description="The agent's last summary of the current attempt")
    result: Any | None = Field(description="The agent's last result of the current attempt")
    transcript_lines: int = Field(description="How many lines the current attempt's transcript has", examples=[17])

    @classmethod
    def with_report(cls, view: View, report: Report | None, transcript_lines: int) -> Self:
        return cls.of(
            view,
            summary=report and report.summary,
            result=report and report.result,
            transcript_lines=transcript_lines,
        )


Reason = Annotated[VisibleText, Field(max_length=256, examples=["The position was filled"])]


class CancelRequest(Shape, extra="forbid"):
    """Why an interview is cancelled, for the timeline."""

    reason: Reason | None = None


class ReopenRequest(Shape, extra="forbid"):
    """How to reopen an interview, and why, for the timeline. Without closesAt it never closes."""

    closes_at: FutureInstant | None = None
    reason: Reason | None = None


class CompletionReport(Shape, extra="forbid"):
    """An agent's report on the conversation in a room."""

    room_name: str = Field(max_length=256, examples=["interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])
    outcome: Literal["completed", "failed"]
    summary: Text | None = Field(default=None, max_length=20_000)
    result: Annotated[JsonValue, json_within(MAX_RESULT_SIZE)] = Field(
        default=None, description="Any JSON, 256 KB at most"
    )

    def completion(self) -> Completion:
        return Completion(self.room_name, Outcome(self.outcome), self.summary, self.result)


class TimelineEntry(Shape):
    """An event on the timeline. `text` is for people; `name` and `detail` are for programs."""

    at: Instant
    attempt: int
    kind: Literal["livekit", "call", "service", "status"] = Field(
        description="The source: a LiveKit event, an API call, this service, or a status change (then name is the rule)"
    )
    name: str
    text: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls.copy_of(entry, text=entry.sentence)


class TimelinePage(Shape):
    """A page of the timeline, oldest first. nextCursor is null on the last page."""

    data: list[TimelineEntry]
    next_cursor: str | None


class InterviewPage(Shape):
    """A page of interviews in the requested order. nextCursor is null on the last page."""

    data: list[Interview]
    next_cursor: str | None


class WebhookAnswer(Shape):
    """Whether the event was recorded, was a duplicate, or was ignored."""

    result: Literal["recorded", "duplicate", "ignored"]


class Health(Shape):
    status: Literal["ok"] = "ok"

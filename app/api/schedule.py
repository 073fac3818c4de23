"""Scheduling and editing interviews, and the context for their agent."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import Field, JsonValue

from app import models
from app.api.actions import Action
from app.api.dependencies import AgentCaller, CurrentServices, InterviewId, JsonBody, Now, Session, Writer
from app.api.etags import ETAG, Expected, with_etag_header
from app.api.idempotency import IdempotentRoute
from app.api.problems import error_responses
from app.api.schemas import MAX_CONTEXT_SIZE, Context, Interview, NewInterview
from app.api.types import GivenInstant, MaxDuration, OpaqueId, ParticipantName, PhoneNumber, Shape, VisibleText
from app.auth.api_keys import Caller
from app.core.errors import InterviewErased, InterviewOver, PreconditionFailed, TokenIssued, TokenTooLarge
from app.interviews.edit import edit
from app.interviews.queries import read_context, views_of
from app.interviews.schedule import InterviewSpec, schedule

router = APIRouter(route_class=IdempotentRoute)

MAX_INTERVIEW_SIZE = 4 * MAX_CONTEXT_SIZE  # bytes: a context with every character escaped, and the other fields
MAX_BATCH_SIZE = 16 * 1024 * 1024  # bytes


class NewInterviews(Shape, extra="forbid"):
    """Interviews to schedule: all of them or none."""

    interviews: list[NewInterview] = Field(min_length=1, max_length=1000)


class ScheduledInterviews(Shape):
    """The scheduled interviews, in the order of the request."""

    data: list[Interview]


class InterviewUpdate(Shape, extra="forbid"):
    """Changes to an interview (JSON merge patch, RFC 7396). Omitted fields stay as they are."""

    # The defaults are unused: `changes` has only what was sent. Most fields can't be null.
    candidate_id: OpaqueId = Field(default_factory=str, description="Can't be changed once a token was issued")
    application_id: OpaqueId = Field(default_factory=str)
    job_post_id: OpaqueId = Field(default_factory=str)
    participant_name: ParticipantName = Field(default_factory=str, description="At most 256 bytes of UTF-8")
    phone_number: PhoneNumber = Field(default_factory=str)
    job_title: VisibleText = Field(default_factory=str, max_length=500)
    company_name: VisibleText = Field(default_factory=str, max_length=500)
    instructions: VisibleText = Field(
        default_factory=str,
        description="Instructions rendered from the organization's template are updated with the other fields",
    )
    max_duration: MaxDuration = Field(default_factory=int)
    opens_at: GivenInstant | None = Field(default=None, description="null: open at once")
    closes_at: GivenInstant | None = Field(default=None, description="null: never closes")
    context: Context = Field(default=None, description="Any JSON, 64 KB at most; null removes it")

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent, by column name."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class InterviewContext(Shape):
    """Data about an interview that only the agent can read."""

    context: JsonValue = Field(description="The context that the interview was scheduled with, or null")
    seconds_left: int | None = Field(
        description="Seconds until startedAt + maxDuration, when the room is deleted; null before the start",
        examples=[1740],
    )


@dataclass(frozen=True)
class Scheduler:
    """What the calls that schedule interviews have in common."""

    session: Session
    now: Now
    services: CurrentServices

    async def run(self, caller: Caller, specs: list[InterviewSpec]) -> list[models.Interview]:
        return await schedule(
            self.session,
            organization_id=caller.organization_id,
            specs=specs,
            now=self.now,
            signer=self.services.signer,
            policy=self.services.settings.deployment_policy,
        )


@router.post(
    "/interviews",
    status_code=201,
    tags=["recruiter"],
    operation_id="scheduleInterview",
    summary="Schedule an interview",
    responses={201: ETAG, **error_responses(TokenTooLarge)},
)
async def schedule_interview(
    caller: Writer,
    body: Annotated[NewInterview, JsonBody(max_size=MAX_INTERVIEW_SIZE)],
    response: Response,
    scheduler: Annotated[Scheduler, Depends()],
) -> Interview:
    (interview,) = await scheduler.run(caller, [body.spec()])
    response.headers["Location"] = f"/interviews/{interview.id}"
    return await with_etag_header(response, scheduler.session, interview=interview, now=scheduler.now)


@router.post(
    "/interviews/batch",
    status_code=201,
    tags=["recruiter"],
    operation_id="scheduleInterviews",
    summary="Schedule up to 1,000 interviews, all of them or none",
    responses=error_responses(TokenTooLarge),
)
async def schedule_interviews(
    caller: Writer,
    body: Annotated[NewInterviews, JsonBody(max_size=MAX_BATCH_SIZE)],
    scheduler: Annotated[Scheduler, Depends()],
) -> ScheduledInterviews:
    """Errors name fields by index: `interviews.3.maxDuration`. The response keeps the order."""
    specs = [each.spec(field=f"interviews.{index}.instructions") for index, each in enumerate(body.interviews)]
    interviews = await scheduler.run(caller, specs)
    views = await views_of(scheduler.session, interviews=interviews, now=scheduler.now)
    return ScheduledInterviews(data=[Interview.of(view) for view in views])


@router.patch(
    "/interviews/{interview_id:interview}",
    tags=["recruiter"],
    operation_id="editInterview",
    summary="Update an interview that has not ended",
    responses={
        200: ETAG,
        **error_responses(InterviewErased, InterviewOver, TokenIssued, PreconditionFailed, TokenTooLarge),
    },
)
async def edit_interview(
    interview_id: InterviewId,
    caller: Writer,
    expected: Expected,
    body: Annotated[InterviewUpdate, JsonBody(max_size=MAX_INTERVIEW_SIZE)],
    action: Action,
    services: CurrentServices,
) -> Interview:
    """Send only what changes. Send If-Match with the ETag of your last read to avoid overwriting other changes."""
    policy = services.settings.deployment_policy
    change = partial(edit, changes=body.changes(), expected=expected, signer=services.signer, policy=policy)
    return await action.run(caller, interview_id, change)


@router.get(
    "/interviews/{interview_id}/context",
    tags=["agent"],
    operation_id="getContext",
    summary="Get an interview's context",
)
async def context(
    interview_id: InterviewId, caller: AgentCaller, response: Response, session: Session, now: Now
) -> InterviewContext:
    response.headers["Cache-Control"] = "no-store"
    found = await read_context(session, organization_id=caller.organization_id, interview_id=interview_id, now=now)
    seconds_left = None if found.time_left is None else int(found.time_left.total_seconds())
    return InterviewContext(context=found.value, seconds_left=seconds_left)

"""What recruiters, platforms and agents say about an interview."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import (
    AgentCaller,
    CurrentWaits,
    InterviewId,
    Now,
    Session,
    Writer,
    body_documentation,
    json_body,
)
from app.api.etags import with_etag, with_etag_header
from app.api.idempotency import IdempotentRoute
from app.api.problems import error_responses
from app.api.schemas import CompletionReport, Interview, ReopenRequest
from app.core.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    InterviewErased,
    InterviewNotFound,
    InterviewNotOver,
    InterviewOver,
    MissingScope,
    NotStarted,
    PayloadInvalid,
    Unauthorized,
    WrongRoom,
)
from app.interviews.actions import cancel, complete, lock_owned, reopen

router = APIRouter(route_class=IdempotentRoute)

LARGEST_REPORT = 320 * 1024  # bytes: 256 KB of result, the summary, and the rest


@router.post(
    "/interviews/{interview_id}/cancel",
    tags=["recruiter"],
    operation_id="cancelInterview",
    summary="Cancel an interview; whoever is in the room is put out",
    responses=with_etag(
        error_responses(
            Unauthorized, MissingScope, InterviewNotFound, InterviewErased, InterviewOver, DatabaseUnavailable
        )
    ),
)
async def cancel_interview(
    interview_id: InterviewId, caller: Writer, response: Response, session: Session, now: Now, timeouts: CurrentWaits
) -> Interview:
    """Cancelling again changes nothing. What ended before, also by a deadline that nobody acted on yet, stays so."""
    interview = await lock_owned(session, organization_id=caller.organization_id, interview_id=interview_id)
    await cancel(session, interview=interview, now=now, timeouts=timeouts)
    return await with_etag_header(response, session, interview=interview, now=now)


@router.post(
    "/interviews/{interview_id}/reopen",
    tags=["recruiter"],
    operation_id="reopenInterview",
    summary="Open an interview that is over as a new attempt",
    responses=with_etag(
        error_responses(
            Unauthorized,
            MissingScope,
            InterviewNotFound,
            InterviewErased,
            InterviewNotOver,
            PayloadInvalid,
            BodyTooLarge,
            DatabaseUnavailable,
        )
    ),
    openapi_extra=body_documentation(ReopenRequest, required=False),
)
async def reopen_interview(
    interview_id: InterviewId,
    caller: Writer,
    response: Response,
    session: Session,
    now: Now,
    timeouts: CurrentWaits,
    body: Annotated[ReopenRequest, Depends(json_body(ReopenRequest, required=False))],
) -> Interview:
    """The new attempt has a new room; the one before is frozen, and stays on the timeline."""
    interview = await lock_owned(session, organization_id=caller.organization_id, interview_id=interview_id)
    await reopen(session, interview=interview, closes_at=body.closes_at, now=now, timeouts=timeouts)
    return await with_etag_header(response, session, interview=interview, now=now)


@router.post(
    "/interviews/{interview_id}/complete",
    tags=["agent"],
    operation_id="completeInterview",
    summary="Report how the conversation went",
    responses=with_etag(
        error_responses(
            Unauthorized,
            MissingScope,
            InterviewNotFound,
            InterviewErased,
            WrongRoom,
            NotStarted,
            InterviewOver,
            PayloadInvalid,
            BodyTooLarge,
            DatabaseUnavailable,
        )
    ),
    openapi_extra=body_documentation(CompletionReport),
)
async def complete_interview(
    interview_id: InterviewId,
    caller: AgentCaller,
    response: Response,
    session: Session,
    now: Now,
    timeouts: CurrentWaits,
    body: Annotated[CompletionReport, Depends(json_body(CompletionReport, largest=LARGEST_REPORT))],
) -> Interview:
    """The same report again is fine. For 15 minutes after the end, `completed` beats FAILED and ABANDONED."""
    interview = await lock_owned(session, organization_id=caller.organization_id, interview_id=interview_id)
    await complete(session, interview=interview, said=body.completion(), now=now, timeouts=timeouts)
    return await with_etag_header(response, session, interview=interview, now=now)

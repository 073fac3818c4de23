"""What recruiters, platforms and agents say about an interview."""

from typing import Annotated

from fastapi import APIRouter, Response

from app.api.dependencies import AgentCaller, CurrentWaits, InterviewId, JsonBody, Now, Session, Writer
from app.api.etags import ETAG, with_etag_header
from app.api.idempotency import IdempotentRoute
from app.api.problems import error_responses
from app.api.schemas import CompletionReport, Interview, ReopenRequest
from app.core.errors import InterviewErased, InterviewNotOver, InterviewOver, NotStarted, WrongRoom
from app.interviews.actions import cancel, complete, lock_owned, reopen

router = APIRouter(route_class=IdempotentRoute)

MAX_REPORT_SIZE = 320 * 1024  # bytes: 256 KB of result, the summary, and the rest


@router.post(
    "/interviews/{interview_id}/cancel",
    tags=["recruiter"],
    operation_id="cancelInterview",
    summary="Cancel an interview; whoever is in the room is put out",
    responses={200: ETAG, **error_responses(InterviewErased, InterviewOver)},
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
    responses={200: ETAG, **error_responses(InterviewErased, InterviewNotOver)},
)
async def reopen_interview(
    interview_id: InterviewId,
    caller: Writer,
    response: Response,
    session: Session,
    now: Now,
    timeouts: CurrentWaits,
    body: Annotated[ReopenRequest, JsonBody(required=False)],
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
    responses={200: ETAG, **error_responses(InterviewErased, WrongRoom, NotStarted, InterviewOver)},
)
async def complete_interview(
    interview_id: InterviewId,
    caller: AgentCaller,
    response: Response,
    session: Session,
    now: Now,
    timeouts: CurrentWaits,
    body: Annotated[CompletionReport, JsonBody(max_size=MAX_REPORT_SIZE)],
) -> Interview:
    """The same report again is fine. For 15 minutes after the end, `completed` beats FAILED and ABANDONED."""
    interview = await lock_owned(session, organization_id=caller.organization_id, interview_id=interview_id)
    await complete(session, interview=interview, said=body.completion(), now=now, timeouts=timeouts)
    return await with_etag_header(response, session, interview=interview, now=now)

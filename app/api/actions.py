"""Changes of one interview: cancel, reopen, complete, erase."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app import models
from app.api.dependencies import AdminCaller, AgentCaller, CurrentServices, InterviewId, JsonBody, Now, Session, Writer
from app.api.etags import ETAG, with_etag_header
from app.api.idempotency import IdempotentRoute
from app.api.problems import error_responses
from app.api.schemas import CancelRequest, CompletionReport, Interview, ReopenRequest
from app.auth.api_keys import Caller
from app.core.errors import InterviewErased, InterviewNotOver, InterviewOver, NotStarted, WrongRoom
from app.interviews.actions import cancel, complete, lock_owned, reopen
from app.interviews.erasure import erase_owned
from app.lifecycle import Timeouts

router = APIRouter(route_class=IdempotentRoute)

MAX_REPORT_SIZE = 320 * 1024  # bytes: 256 KB of result, the summary, the other fields


class UseCase(Protocol):
    """Changes a locked interview."""

    async def __call__(
        self, session: AsyncSession, /, *, interview: models.Interview, now: datetime, timeouts: Timeouts
    ) -> None: ...


@dataclass(frozen=True)
class InterviewAction:
    """What the calls that change one interview have in common."""

    response: Response
    session: Session
    now: Now
    services: CurrentServices

    async def run(self, caller: Caller, interview_id: uuid.UUID, use_case: UseCase) -> Interview:
        """Lock the caller's interview, change it, and return it with its ETag.

        Raises InterviewNotFound, InterviewErased, and what the use case raises.
        """
        interview = await lock_owned(self.session, organization_id=caller.organization_id, interview_id=interview_id)
        await use_case(self.session, interview=interview, now=self.now, timeouts=self.services.timeouts)
        return await with_etag_header(self.response, self.session, interview=interview, now=self.now)


Action = Annotated[InterviewAction, Depends()]


@router.post(
    "/interviews/{interview_id}/cancel",
    tags=["recruiter"],
    operation_id="cancelInterview",
    summary="Cancel an interview and remove its participants",
    responses={200: ETAG, **error_responses(InterviewErased, InterviewOver)},
)
async def cancel_interview(
    interview_id: InterviewId, caller: Writer, body: Annotated[CancelRequest, JsonBody(required=False)], action: Action
) -> Interview:
    """Idempotent. An interview that has already ended, or whose deadline has passed, keeps its outcome.

    The timeline shows the first call's `reason`.
    """
    return await action.run(caller, interview_id, partial(cancel, reason=body.reason))


@router.post(
    "/interviews/{interview_id}/reopen",
    tags=["recruiter"],
    operation_id="reopenInterview",
    summary="Reopen an ended interview as a new attempt",
    responses={200: ETAG, **error_responses(InterviewErased, InterviewNotOver)},
)
async def reopen_interview(
    interview_id: InterviewId, caller: Writer, body: Annotated[ReopenRequest, JsonBody(required=False)], action: Action
) -> Interview:
    """The new attempt has a new room. The previous attempt stays on the timeline."""
    return await action.run(caller, interview_id, partial(reopen, closes_at=body.closes_at, reason=body.reason))


@router.post(
    "/interviews/{interview_id}/complete",
    tags=["agent"],
    operation_id="completeInterview",
    summary="Report the outcome of the conversation",
    responses={200: ETAG, **error_responses(InterviewErased, WrongRoom, NotStarted, InterviewOver)},
)
async def complete_interview(
    interview_id: InterviewId,
    caller: AgentCaller,
    body: Annotated[CompletionReport, JsonBody(max_size=MAX_REPORT_SIZE)],
    action: Action,
) -> Interview:
    """Idempotent. Until 15 minutes after the end, `completed` overrides FAILED and ABANDONED."""
    return await action.run(caller, interview_id, partial(complete, report=body.completion()))


@router.delete(
    "/interviews/{interview_id}/personal-data",
    status_code=204,
    tags=["recruiter"],
    operation_id="erasePersonalData",
    summary="Erase an interview's personal data; ids, times and outcome stay",
    responses=error_responses(InterviewNotOver),
)
async def erase_personal_data(interview_id: InterviewId, caller: AdminCaller, session: Session, now: Now) -> None:
    """Irreversible, so it requires the scope `admin`. Idempotent."""
    await erase_owned(session, organization_id=caller.organization_id, interview_id=interview_id, now=now)

"""What recruiters and their platforms call."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.api.deps import CurrentSigner, InterviewId, Now, Reader, Session, Writer
from app.api.problems import answers
from app.api.schemas import Interview, InterviewPage, NewInterview
from app.errors import (
    CursorInvalid,
    DatabaseUnavailable,
    InterviewNotFound,
    MissingScope,
    PayloadInvalid,
    TokenTooLarge,
    Unauthorized,
)
from app.interviews.read import ShownStatus, get_interview, list_interviews, views_of
from app.interviews.schedule import schedule

router = APIRouter(tags=["recruiter"])


@router.post(
    "/interviews",
    status_code=201,
    operation_id="scheduleInterview",
    summary="Schedule an interview",
    responses=answers(Unauthorized, MissingScope, PayloadInvalid, TokenTooLarge, DatabaseUnavailable),
)
async def schedule_interview(
    body: NewInterview, response: Response, caller: Writer, session: Session, now: Now, signer: CurrentSigner
) -> Interview:
    interview = await schedule(
        session, organization_id=caller.organization_id, plan=body.plan(), now=now, signer=signer
    )
    response.headers["Location"] = f"/interviews/{interview.id}"
    return Interview.of((await views_of(session, interviews=[interview], now=now))[0])


@router.get(
    "/interviews/{interview_id}",
    operation_id="getInterview",
    summary="Read an interview and its status",
    responses=answers(Unauthorized, MissingScope, InterviewNotFound, DatabaseUnavailable),
)
async def read_interview(interview_id: InterviewId, caller: Reader, session: Session, now: Now) -> Interview:
    view = await get_interview(session, organization_id=caller.organization_id, interview_id=interview_id, now=now)
    return Interview.of(view)


@router.get(
    "/interviews",
    operation_id="listInterviews",
    summary="List interviews, newest first",
    responses=answers(Unauthorized, MissingScope, CursorInvalid, PayloadInvalid, DatabaseUnavailable),
)
async def list_page(
    caller: Reader,
    session: Session,
    now: Now,
    status: Annotated[list[ShownStatus] | None, Query(description="Several mean any of them")] = None,
    cursor: Annotated[str | None, Query(max_length=200, description="nextCursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> InterviewPage:
    page = await list_interviews(
        session,
        organization_id=caller.organization_id,
        statuses=status or [],
        cursor=cursor,
        limit=limit,
        now=now,
    )
    return InterviewPage(data=[Interview.of(view) for view in page.views], next_cursor=page.next_cursor)

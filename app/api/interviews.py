"""What recruiters and their platforms call."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.deps import (
    CurrentPolicy,
    CurrentSigner,
    InterviewId,
    Now,
    Reader,
    Session,
    Writer,
    body_documentation,
    json_body,
)
from app.api.problems import answers
from app.api.schemas import (
    Interview,
    InterviewDetail,
    InterviewPage,
    NewInterview,
    TimelineEntry,
    TimelinePage,
)
from app.errors import (
    BodyTooLarge,
    CursorInvalid,
    DatabaseUnavailable,
    InterviewNotFound,
    MissingScope,
    PayloadInvalid,
    TokenTooLarge,
    Unauthorized,
)
from app.interviews.read import find_interview, get_interview, last_report, list_interviews, views_of
from app.interviews.schedule import schedule
from app.interviews.shown import ShownStatus
from app.interviews.timeline import read_timeline

router = APIRouter(tags=["recruiter"])


@router.post(
    "/interviews",
    status_code=201,
    operation_id="scheduleInterview",
    summary="Schedule an interview",
    responses=answers(Unauthorized, MissingScope, PayloadInvalid, TokenTooLarge, BodyTooLarge, DatabaseUnavailable),
    openapi_extra=body_documentation(NewInterview),
)
async def schedule_interview(
    caller: Writer,
    body: Annotated[NewInterview, Depends(json_body(NewInterview))],
    response: Response,
    session: Session,
    now: Now,
    signer: CurrentSigner,
    policy: CurrentPolicy,
) -> Interview:
    interview = await schedule(
        session, organization_id=caller.organization_id, plan=body.plan(), now=now, signer=signer, policy=policy
    )
    response.headers["Location"] = f"/interviews/{interview.id}"
    return Interview.of((await views_of(session, interviews=[interview], now=now))[0])


@router.get(
    "/interviews/{interview_id}",
    operation_id="getInterview",
    summary="Read an interview and its status",
    responses=answers(Unauthorized, MissingScope, InterviewNotFound, DatabaseUnavailable),
)
async def read_interview(interview_id: InterviewId, caller: Reader, session: Session, now: Now) -> InterviewDetail:
    view = await get_interview(session, organization_id=caller.organization_id, interview_id=interview_id, now=now)
    return InterviewDetail.with_report(view, await last_report(session, interview=view.interview))


@router.get(
    "/interviews/{interview_id}/timeline",
    operation_id="getTimeline",
    summary="Read all that happened to an interview, oldest first",
    responses=answers(
        Unauthorized, MissingScope, InterviewNotFound, CursorInvalid, PayloadInvalid, DatabaseUnavailable
    ),
)
async def timeline(
    interview_id: InterviewId,
    caller: Reader,
    session: Session,
    cursor: Annotated[str | None, Query(max_length=200, description="nextCursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> TimelinePage:
    await find_interview(session, organization_id=caller.organization_id, interview_id=interview_id)
    page = await read_timeline(session, interview_id=interview_id, cursor=cursor, limit=limit)
    return TimelinePage(data=[TimelineEntry.of(entry) for entry in page.entries], next_cursor=page.next_cursor)


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

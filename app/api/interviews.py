"""Reading an interview and its timeline."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.api.dependencies import InterviewId, Now, Reader, Session
from app.api.etags import ETAG, etag_of
from app.api.routes import ApiRoute
from app.api.schemas import InterviewDetail, TimelineEntry, TimelinePage
from app.interviews.queries import find_interview, get_interview, last_report
from app.interviews.timeline import read_timeline
from app.interviews.transcript import count_lines

router = APIRouter(route_class=ApiRoute, tags=["recruiter"])


@router.get(
    "/interviews/{interview_id:interview}",
    operation_id="getInterview",
    summary="Get an interview",
    responses={200: ETAG},
)
async def read_interview(
    interview_id: InterviewId, caller: Reader, response: Response, session: Session, now: Now
) -> InterviewDetail:
    view = await get_interview(session, organization_id=caller.organization_id, interview_id=interview_id, now=now)
    response.headers["ETag"] = etag_of(view.interview)
    report = await last_report(session, interview=view.interview)
    return InterviewDetail.with_report(view, report, await count_lines(session, interview=view.interview))


@router.get(
    "/interviews/{interview_id}/timeline",
    operation_id="getTimeline",
    summary="List an interview's timeline, oldest first",
)
async def timeline(
    interview_id: InterviewId,
    caller: Reader,
    session: Session,
    cursor: Annotated[str | None, Query(max_length=200, description="nextCursor of the previous page")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> TimelinePage:
    await find_interview(session, organization_id=caller.organization_id, interview_id=interview_id)
    page = await read_timeline(session, interview_id=interview_id, cursor=cursor, limit=limit)
    return TimelinePage(data=[TimelineEntry.of(entry) for entry in page.items], next_cursor=page.next_cursor)

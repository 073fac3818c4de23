"""Erasing what an interview holds of a person."""

from fastapi import APIRouter

from app.api.dependencies import AdminCaller, InterviewId, Now, Session
from app.api.problems import error_responses
from app.api.routes import ApiRoute
from app.core.errors import InterviewNotOver
from app.interviews.erasure import erase_owned

router = APIRouter(route_class=ApiRoute, tags=["recruiter"])


@router.delete(
    "/interviews/{interview_id}/personal-data",
    status_code=204,
    operation_id="erasePersonalData",
    summary="Erase an interview's personal data for good; ids, times and how it ended stay",
    responses=error_responses(InterviewNotOver),
)
async def erase_personal_data(interview_id: InterviewId, caller: AdminCaller, session: Session, now: Now) -> None:
    """It can't be undone, so it takes the scope `admin`. Erasing again changes nothing."""
    await erase_owned(session, organization_id=caller.organization_id, interview_id=interview_id, now=now)

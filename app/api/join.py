"""What a candidate's frontend calls."""

from fastapi import APIRouter, Depends, Request, Response

from app.api.deps import body_documentation, documented_interview, interview_id_of, json_body, now_of
from app.api.knocks import POLICY_ERRORS, knock_of
from app.api.plain import PlainRoute
from app.api.problems import answers
from app.api.schemas import JoinRequest, JoinResponse
from app.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    InterviewErased,
    InterviewNotFound,
    InterviewOver,
    PayloadInvalid,
    TooEarly,
)
from app.interviews.join import Ask

router = APIRouter(tags=["candidate"], route_class=PlainRoute)

read_request = json_body(JoinRequest, required=False)


@router.post(
    "/interviews/{interview_id}/join",  # noqa: FAST003 - a plain route reads it itself
    operation_id="joinInterview",
    summary="Get a seat in the interview's room",
    response_model=JoinResponse,
    responses=answers(
        InterviewNotFound,
        InterviewErased,
        TooEarly,
        InterviewOver,
        *POLICY_ERRORS,
        PayloadInvalid,
        BodyTooLarge,
        DatabaseUnavailable,
    ),
    dependencies=[Depends(documented_interview)],
    openapi_extra=body_documentation(JoinRequest, required=False),
)
async def join_interview(request: Request) -> Response:
    """Return all that the frontend needs to connect to LiveKit. Call it again whenever the connection is lost for good.

    The token is for one room and one identity, and lives for ten minutes; the conversation may last longer. What to
    send is JOIN_POLICY's to say: nothing, the phone number, or the invitation's secret,
    the latter also as `Authorization: Bearer inv_...`.
    """
    interview_id = interview_id_of(request)
    said = await read_request(request)
    knock = knock_of(request).saying(phone_number=said.phone_number, invite=said.invite)
    ticket = await request.app.state.join(Ask(interview_id, knock, now_of(request)))
    answer = JoinResponse.encode(ticket, server_url=request.app.state.settings.livekit_url)
    return Response(answer, media_type="application/json")

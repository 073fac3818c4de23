"""What a candidate's frontend calls."""

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import body_documentation, documented_interview, json_body
from app.api.fast_route import PlainRoute
from app.api.knocks import ERRORS, join
from app.api.problems import answers
from app.api.schemas import JoinRequest, JoinResponse

router = APIRouter(tags=["candidate"], route_class=PlainRoute)

read_request = json_body(JoinRequest, required=False)


@router.post(
    "/interviews/{interview_id}/join",  # noqa: FAST003 - a plain route reads it itself
    operation_id="joinInterview",
    summary="Get a seat in the interview's room",
    response_model=JoinResponse,
    responses=answers(*ERRORS),
    dependencies=[Depends(documented_interview)],
    openapi_extra=body_documentation(JoinRequest, required=False),
)
async def join_interview(request: Request) -> Response:
    """Return all that the frontend needs to connect to LiveKit. Call it again whenever the connection is lost for good.

    The token is for one room and one identity, and lives for ten minutes; the conversation may last longer. What to
    send is JOIN_POLICY's to say: nothing, the phone number, or the invitation's secret,
    the latter also as `Authorization: Bearer inv_...`.
    """
    ticket = await join(request, read_request)
    answer = JoinResponse.encode(ticket, server_url=request.app.state.settings.livekit_url)
    return Response(answer, media_type="application/json")

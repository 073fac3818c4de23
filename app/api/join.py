"""What a candidate's frontend calls."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.api.deps import (
    CurrentPolicy,
    CurrentSettings,
    CurrentSigner,
    CurrentWaits,
    InterviewId,
    Now,
    Session,
    body_documentation,
    json_body,
)
from app.api.knocks import POLICY_ERRORS, CurrentKnock
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
from app.interviews.join import join

router = APIRouter(tags=["candidate"])


@router.post(
    "/interviews/{interview_id}/join",
    operation_id="joinInterview",
    summary="Get a seat in the interview's room",
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
    openapi_extra=body_documentation(JoinRequest, required=False),
)
async def join_interview(
    interview_id: InterviewId,
    response: Response,
    knock: CurrentKnock,
    policy: CurrentPolicy,
    session: Session,
    now: Now,
    signer: CurrentSigner,
    waits: CurrentWaits,
    settings: CurrentSettings,
    body: Annotated[JoinRequest, Depends(json_body(JoinRequest, required=False))],
) -> JoinResponse:
    """Return all that the frontend needs to connect to LiveKit. Call it again whenever the connection is lost for good.

    The token is for one room and one identity, and lives for ten minutes; the conversation may last longer. What to
    send is JOIN_POLICY's to say: nothing, the phone number, or the invitation's secret,
    the latter also as `Authorization: Bearer inv_...`.
    """
    response.headers["Cache-Control"] = "no-store"
    knock = knock.saying(phone_number=body.phone_number, invite=body.invite)
    ticket = await join(
        session, interview_id=interview_id, knock=knock, policy=policy, now=now, signer=signer, waits=waits
    )
    return JoinResponse.of(ticket, server_url=settings.livekit_url)

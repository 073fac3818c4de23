"""What a candidate's frontend calls."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.deps import CurrentSettings, CurrentSigner, InterviewId, Now, Session, read_body
from app.api.problems import answers
from app.api.schemas import JoinRequest, JoinResponse
from app.errors import BodyTooLarge, DatabaseUnavailable, InterviewNotFound, InterviewOver, PayloadInvalid, TooEarly
from app.interviews.join import join

router = APIRouter(tags=["candidate"])

LARGEST_BODY = 64 * 1024  # bytes


async def join_body(request: Request) -> JoinRequest:
    """Return what the frontend sent, of whatever content type: fetch() calls a JSON string text/plain."""
    body = await read_body(request, largest=LARGEST_BODY)
    try:
        return JoinRequest.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error


@router.post(
    "/interviews/{interview_id}/join",
    operation_id="joinInterview",
    summary="Get a seat in the interview's room",
    responses=answers(InterviewNotFound, TooEarly, InterviewOver, PayloadInvalid, BodyTooLarge, DatabaseUnavailable),
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": JoinRequest.model_json_schema()}}}},
)
async def join_interview(
    interview_id: InterviewId,
    response: Response,
    session: Session,
    now: Now,
    signer: CurrentSigner,
    settings: CurrentSettings,
    _: Annotated[JoinRequest, Depends(join_body)],
) -> JoinResponse:
    """Return all that the frontend needs to connect to LiveKit. Call it again whenever the connection is lost for good.

    The token is for one room and one identity, and lives for ten minutes; the conversation may last longer.
    """
    response.headers["Cache-Control"] = "no-store"
    ticket = await join(session, interview_id=interview_id, now=now, signer=signer)
    return JoinResponse.of(ticket, server_url=settings.livekit_url)

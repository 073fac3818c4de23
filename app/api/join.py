"""Joining an interview. The token endpoint (app.api.token) uses the same function."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import BodyReader, documented_interview, interview_id_of
from app.api.headers import header_of
from app.api.problems import error_responses
from app.api.rate_limits import address_of
from app.api.routes import FastRoute, check_parameters
from app.api.schemas import JoinRequest, JoinResponse
from app.api.services import services_of
from app.core import errors
from app.interviews.invites import PREFIX
from app.interviews.join import JoinCommand, JoinResult
from app.interviews.join_policy import JoinCredentials
from app.interviews.token import TokenOptions

router = APIRouter(tags=["candidate"], route_class=FastRoute)

read_request = BodyReader(JoinRequest, required=False)

ERRORS = (
    errors.InterviewErased,
    errors.TooEarly,
    errors.InterviewOver,
    errors.PhoneNumberRequired,
    errors.InviteRequired,
    errors.WrongPhoneNumber,
    errors.PhoneNumberUnreadable,
    errors.PhoneNumberUnusable,
    errors.InviteInvalid,
    errors.TooManyTries,
    errors.DatabaseUnavailable,
)


class JoinBody(Protocol):
    """The credentials in the body of a join."""

    phone_number: str | None
    invite: str | None


Body = TypeVar("Body", bound=JoinBody)


async def join(
    request: Request,
    read: Callable[[Request], Awaitable[Body]],
    token_options: Callable[[Body], TokenOptions | None] = lambda _: None,
) -> JoinResult:
    """Join with the credentials of the body or the header; the body takes precedence. Raises the ERRORS.

    `token_options` returns the token fields that the body asks for. An invalid id is refused before the body is read.
    """
    await check_parameters(request)
    interview_id = interview_id_of(request)
    body = await read(request)
    invite = body.invite or _invite_of(request)
    credentials = JoinCredentials(address_of(request.scope), body.phone_number or None, invite)
    services = services_of(request)
    return await services.joins(JoinCommand(interview_id, credentials, services.clock(), token_options(body)))


def _invite_of(request: Request) -> str | None:
    """Return the invite of the Authorization header. Other bearer tokens are ignored."""
    scheme, _, value = (header_of(request.scope, b"authorization") or b"").decode("latin-1").partition(" ")
    value = value.strip()
    return value if scheme.lower() == "bearer" and value.startswith(PREFIX) else None


@router.post(
    "/interviews/{interview_id}/join",  # noqa: FAST003 - a FastRoute reads it itself
    operation_id="joinInterview",
    summary="Join an interview",
    response_model=JoinResponse,
    responses=error_responses(*ERRORS),
    dependencies=[Depends(documented_interview), Depends(read_request)],
)
async def join_interview(request: Request) -> Response:
    """Return what a frontend needs to connect to LiveKit. Call it again when the connection is lost for good.

    The token is valid for one room and one identity. It expires after ten minutes; the conversation may last longer.
    JOIN_POLICY decides what to send: nothing, the phone number, or the invitation's secret, which may also be sent as
    `Authorization: Bearer inv_...`.
    """
    result = await join(request, read_request)
    content = JoinResponse.encode(result, server_url=services_of(request).settings.livekit_url)
    return Response(content, media_type="application/json")

"""What a candidate's frontend calls to join. The token endpoint (app.api.token) joins by the same function."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import body_documentation, documented_interview, interview_id_of, json_body, now_of
from app.api.fast_route import FastRoute
from app.api.headers import header_of
from app.api.problems import error_responses
from app.api.rate_limits import address_of
from app.api.schemas import JoinRequest, JoinResponse
from app.core.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    InterviewErased,
    InterviewNotFound,
    InterviewOver,
    InviteInvalid,
    InviteRequired,
    PayloadInvalid,
    PhoneNumberRequired,
    PhoneNumberUnusable,
    TooEarly,
    TooManyTries,
    WrongPhoneNumber,
)
from app.interviews.invites import PREFIX
from app.interviews.join import JoinCommand, JoinResult
from app.interviews.join_policy import JoinCredentials
from app.interviews.token import TokenOptions

router = APIRouter(tags=["candidate"], route_class=FastRoute)

read_request = json_body(JoinRequest, required=False)

ERRORS = (
    InterviewNotFound,
    InterviewErased,
    TooEarly,
    InterviewOver,
    PhoneNumberRequired,
    InviteRequired,
    WrongPhoneNumber,
    PhoneNumberUnusable,
    InviteInvalid,
    TooManyTries,
    PayloadInvalid,
    BodyTooLarge,
    DatabaseUnavailable,
)


class JoinBody(Protocol):
    """A body of those who want to join."""

    phone_number: str | None
    invite: str | None


Body = TypeVar("Body", bound=JoinBody)


async def join(
    request: Request,
    read: Callable[[Request], Awaitable[Body]],
    token_options: Callable[[Body], TokenOptions | None] = lambda _: None,
) -> JoinResult:
    """Return what lets the caller in; `token_options` gives what its body wants of the token. Raises what ERRORS has.

    An id that is none is refused before the body is read. An invite in the body comes before that of the header.
    """
    interview_id = interview_id_of(request)
    body = await read(request)
    invite = body.invite or _invite_of(request)
    credentials = JoinCredentials(address_of(request.scope), body.phone_number or None, invite)
    result: JoinResult = await request.app.state.join(
        JoinCommand(interview_id, credentials, now_of(request), token_options(body))
    )
    return result


def _invite_of(request: Request) -> str | None:
    """Return the header's invite. Another bearer token is none of our concern."""
    scheme, _, given = (header_of(request.scope, b"authorization") or b"").decode("latin-1").partition(" ")
    given = given.strip()
    return given if scheme.lower() == "bearer" and given.startswith(PREFIX) else None


@router.post(
    "/interviews/{interview_id}/join",  # noqa: FAST003 - a plain route reads it itself
    operation_id="joinInterview",
    summary="Get a seat in the interview's room",
    response_model=JoinResponse,
    responses=error_responses(*ERRORS),
    dependencies=[Depends(documented_interview)],
    openapi_extra=body_documentation(JoinRequest, required=False),
)
async def join_interview(request: Request) -> Response:
    """Return all that the frontend needs to connect to LiveKit. Call it again whenever the connection is lost for good.

    The token is for one room and one identity, and lives for ten minutes; the conversation may last longer. What to
    send is JOIN_POLICY's to say: nothing, the phone number, or the invitation's secret,
    the latter also as `Authorization: Bearer inv_...`.
    """
    result = await join(request, read_request)
    answer = JoinResponse.encode(result, server_url=request.app.state.settings.livekit_url)
    return Response(answer, media_type="application/json")

"""Joining, as its calls have it in common, and the errors that they answer with."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from fastapi import Request

from app.api.dependencies import interview_id_of, now_of
from app.api.headers import header_of
from app.api.rate_limits import address_of
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
from app.interviews.join import Ask, Ticket
from app.interviews.join_policy import Knock
from app.interviews.token_options import Wishes

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


class Knocking(Protocol):
    """A body of those who want to join."""

    phone_number: str | None
    invite: str | None


Body = TypeVar("Body", bound=Knocking)


async def join(
    request: Request,
    read: Callable[[Request], Awaitable[Body]],
    wishes: Callable[[Body], Wishes | None] = lambda _: None,
) -> Ticket:
    """Return what lets the caller in; `wishes` gives what its body wants of the token. Raises what ERRORS has.

    An id that is none is refused before the body is read. An invite in the body comes before that of the header.
    """
    interview_id = interview_id_of(request)
    body = await read(request)
    invite = body.invite or _invite_of(request)
    knock = Knock(address_of(request.scope), body.phone_number or None, invite)
    ticket: Ticket = await request.app.state.join(Ask(interview_id, knock, now_of(request), wishes(body)))
    return ticket


def _invite_of(request: Request) -> str | None:
    """Return the header's invite. Another bearer token is none of our concern."""
    scheme, _, given = (header_of(request.scope, b"authorization") or b"").decode("latin-1").partition(" ")
    given = given.strip()
    return given if scheme.lower() == "bearer" and given.startswith(PREFIX) else None

"""What somebody who wants to join shows, and the errors that the join policies answer with."""

from fastapi import Request

from app.api.headers import header_of
from app.api.rate_limits import address_of
from app.errors import (
    InviteInvalid,
    InviteRequired,
    PhoneNumberRequired,
    PhoneNumberUnusable,
    TooManyTries,
    WrongPhoneNumber,
)
from app.interviews.admission import Knock
from app.interviews.invites import PREFIX

POLICY_ERRORS = (
    PhoneNumberRequired,
    InviteRequired,
    WrongPhoneNumber,
    PhoneNumberUnusable,
    InviteInvalid,
    TooManyTries,
)


def knock_of(request: Request) -> Knock:
    """Return what address and header show. Another bearer token than an invite is none of our concern."""
    scheme, _, given = (header_of(request.scope, b"authorization") or b"").decode("latin-1").partition(" ")
    is_invite = scheme.lower() == "bearer" and given.strip().startswith(PREFIX)
    return Knock(address_of(request.scope), invite=given.strip() if is_invite else None)

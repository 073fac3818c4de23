"""What somebody who wants to join shows, and the errors that the join policies answer with."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.deps import CurrentSettings, InterviewId
from app.api.rate_limits import address_of
from app.errors import (
    InviteInvalid,
    InviteRequired,
    PhoneNumberRequired,
    PhoneNumberUnusable,
    TooManyTries,
    WrongPhoneNumber,
)
from app.interviews.admission import Knock, hash_address
from app.interviews.invites import PREFIX

POLICY_ERRORS = (
    PhoneNumberRequired,
    InviteRequired,
    WrongPhoneNumber,
    PhoneNumberUnusable,
    InviteInvalid,
    TooManyTries,
)


async def client_address(request: Request) -> str:
    return address_of(request.scope)


async def current_knock(
    interview_id: InterviewId,
    request: Request,
    settings: CurrentSettings,
    address: Annotated[str, Depends(client_address)],
) -> Knock:
    """Return what address and header show. Another bearer token than an invite is none of our concern."""
    key = settings.livekit_api_secret.get_secret_value().encode()
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_invite = scheme.lower() == "bearer" and given.strip().startswith(PREFIX)
    hashed = hash_address(address, interview_id=interview_id, key=key)
    return Knock(hashed, invite=given.strip() if is_invite else None)


CurrentKnock = Annotated[Knock, Depends(current_knock)]

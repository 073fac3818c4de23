"""Invitation links for candidates."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from app.api.dependencies import CurrentServices, InterviewId, JsonBody, Now, Session, Writer
from app.api.problems import error_responses
from app.api.routes import ApiRoute
from app.api.schemas import FutureInstant
from app.api.types import Instant, Shape
from app.core.errors import InterviewErased, InterviewOver
from app.interviews.actions import lock_owned
from app.interviews.invites import invite, revoke_invite

router = APIRouter(route_class=ApiRoute, tags=["recruiter"])


class NewInvite(Shape, extra="forbid"):
    """How long the invitation is valid."""

    expires_at: FutureInstant | None = Field(
        default=None, description="Default: 30 minutes after closesAt; without closesAt, in 30 days"
    )


class Invite(Shape):
    """An invitation. Its secret is shown only once: only a hash is stored."""

    interview_id: uuid.UUID
    invite: str = Field(
        description="The secret: send it to join as `invite`", examples=["inv_0f9c1d2e3b4a59687786a5b4c3d2e1f001122334"]
    )
    url: str | None = Field(
        description="The link for the candidate, built from INVITE_URL; null if INVITE_URL is not set",
        examples=["https://jobs.example/interview/c6aec8f5-592b-4b90-b7fd-a6a6404b31f9#invite=inv_0f9c..."],
    )
    expires_at: Instant


@router.post(
    "/interviews/{interview_id}/invite",
    status_code=201,
    operation_id="inviteCandidate",
    summary="Create an invitation link and revoke the previous one",
    responses=error_responses(InterviewErased, InterviewOver),
)
async def invite_candidate(
    interview_id: InterviewId,
    caller: Writer,
    response: Response,
    session: Session,
    now: Now,
    services: CurrentServices,
    body: Annotated[NewInvite, JsonBody(required=False)],
) -> Invite:
    """The candidate can use it any number of times until it expires, under every join policy."""
    response.headers["Cache-Control"] = "no-store"
    interview = await lock_owned(session, organization_id=caller.organization_id, interview_id=interview_id)
    created = invite(session, interview=interview, expires_at=body.expires_at, now=now)
    url = created.link(interview, template=services.settings.invite_link)
    return Invite(interview_id=interview.id, invite=created.secret, url=url, expires_at=created.expires_at)


@router.delete(
    "/interviews/{interview_id}/invite",
    status_code=204,
    operation_id="revokeInvite",
    summary="Revoke the invitation link",
    responses=error_responses(InterviewErased),
)
async def revoke(interview_id: InterviewId, caller: Writer, session: Session) -> None:
    """Participants who are in the room stay. Idempotent."""
    interview = await lock_owned(session, organization_id=caller.organization_id, interview_id=interview_id)
    revoke_invite(session, interview=interview)

"""Joining: from an interview's id to an access token with its eleven metadata fields. One read, one append, no lock."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import AppError, InterviewNotFound, InterviewOver, TooEarly
from app.interviews.facts import TOKEN_ISSUED
from app.lifecycle import Status
from app.livekit import TOKEN_LIFE, Signer
from app.models import Interview, JoinRequest, room_name


@dataclass(frozen=True, slots=True)
class Ticket:
    """What lets a candidate in: the interview, and the access token for its room."""

    interview: Interview
    token: str
    expires_at: datetime


async def join(session: AsyncSession, *, interview_id: uuid.UUID, now: datetime, signer: Signer) -> Ticket:
    """Let the candidate in. Raises InterviewNotFound, TooEarly or InterviewOver; the latter two are recorded too.

    The status is only read: a token that was issued moves nothing, and a rejoin while the attempt lives is welcome.
    """
    interview = await session.get(Interview, interview_id)
    if interview is None:
        raise InterviewNotFound
    refusal = _refusal(interview, now)
    answer = refusal.code if refusal else TOKEN_ISSUED
    await session.execute(
        insert(JoinRequest).values(interview_id=interview.id, attempt=interview.attempt, at=now, answer=answer)
    )
    if refusal:
        raise refusal
    token = access_token(interview, attempt=interview.attempt, status=interview.status, signer=signer, now=now)
    return Ticket(interview, token, now.replace(microsecond=0) + TOKEN_LIFE)


def _refusal(interview: Interview, now: datetime) -> AppError | None:
    if interview.status.is_terminal:
        return InterviewOver(interviewStatus=interview.status)
    if interview.opens_at and now < interview.opens_at:
        wait = int((interview.opens_at - now).total_seconds()) + 1
        return TooEarly(opensAt=interview.opens_at, headers={"Retry-After": str(wait)})
    return None


def access_token(interview: Interview, *, attempt: int, status: Status, signer: Signer, now: datetime) -> str:
    """Return the candidate's token for the room of an attempt."""
    return signer.access_token(
        identity=interview.candidate_identity,
        name=interview.participant_name,
        room=room_name(interview.id, attempt),
        metadata=metadata(interview, status),
        now=now,
    )


def metadata(interview: Interview, status: Status) -> dict[str, object]:
    """Return the eleven fields that the agent finds in `participant.metadata`: the contract of the seed."""
    return {
        "candidateId": interview.candidate_id,
        "participantName": interview.participant_name,
        "phoneNumber": interview.phone_number,
        "jobTitle": interview.job_title,
        "interviewId": str(interview.id),
        "applicationId": interview.application_id,
        "jobPostId": interview.job_post_id,
        "companyName": interview.company_name,
        "instructions": interview.instructions,
        "maxDuration": interview.max_duration,
        "status": status,
    }

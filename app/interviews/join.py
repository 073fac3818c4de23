"""Joining: from an interview's id to an access token with its eleven metadata fields.

One read, one append, and no wait for anybody, unless the interview is over or somebody guesses.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import AppError, InterviewErased, InterviewNotFound, InterviewOver, TooEarly
from app.interviews.admission import Admission, Knock, admit, is_locked_out, record_answer
from app.interviews.attempts import open_next_attempt
from app.interviews.facts import TOKEN_ISSUED
from app.interviews.settle import lock, settle
from app.interviews.wishes import Wishes, check_wishes
from app.lifecycle import Status, Waits
from app.livekit import TOKEN_LIFE, Signer
from app.models import Interview, room_name
from app.policy import JoinPolicy

ATTEMPTS = 3  # that a platform's faults may cost before a person has to look at it; reopening starts the count again
STILL_OPEN = timedelta(minutes=30)  # after closesAt an interview that failed may still be tried again


@dataclass(frozen=True, slots=True)
class Ticket:
    """What lets a candidate in: the interview, and the access token for its room."""

    interview: Interview
    token: str
    expires_at: datetime


async def join(
    session: AsyncSession,
    *,
    interview_id: uuid.UUID,
    knock: Knock,
    policy: JoinPolicy,
    now: datetime,
    signer: Signer,
    waits: Waits,
    wishes: Wishes | None = None,
) -> Ticket:
    """Let the candidate in. `policy` is the deployment's.

    Raises InterviewNotFound, InterviewErased, or a refusal, which is recorded: what the join policy says, and only then
    TooEarly and InterviewOver, so that whoever may not join learns nothing of the interview.

    The status is only read: a token that was issued moves nothing, and a rejoin while the attempt lives is welcome.
    After a fault of the platform (FAILED) the next attempt opens by itself. Raises TokenFieldNotAllowed if the client
    wishes for another token than ours: then nothing was asked, nothing is recorded and no attempt is opened.
    """
    admission, refusal = await _judge(session, interview_id, knock, policy, now, waits)
    while not await record_answer(session, admission, answer=refusal.code if refusal else TOKEN_ISSUED, now=now):
        admission, refusal = await _judge(session, interview_id, knock, policy, now, waits)
    interview = admission.interview
    if refusal:
        raise refusal
    claims = _claims(interview, attempt=interview.attempt, status=interview.status, signer=signer, now=now)
    if wishes:
        check_wishes(wishes, claims)
    return Ticket(interview, signer.sign(claims), now.replace(microsecond=0) + TOKEN_LIFE)


async def _judge(
    session: AsyncSession, interview_id: uuid.UUID, knock: Knock, policy: JoinPolicy, now: datetime, waits: Waits
) -> tuple[Admission, AppError | None]:
    """Return what the policy says, and the refusal if there is one; a failed attempt has made way for the next then."""
    admission = await admit(session, interview_id=interview_id, knock=knock, deployment=policy, now=now)
    interview = admission.interview
    # asked for wrong tries as well: the time that an answer takes is not to tell them from right ones
    is_finished = interview.status.is_terminal and not await is_locked_out(session, admission, now=now)
    if admission.refusal:
        return admission, admission.refusal
    if is_finished:
        await _try_again(session, interview, now, waits)
    return admission, _refusal(interview, now)


async def _try_again(session: AsyncSession, interview: Interview, now: datetime, waits: Waits) -> None:
    """Settle the interview, and open its next attempt if the last one FAILED and it has not been tried enough."""
    if await lock(session, interview.id) is None:
        raise InterviewNotFound
    if interview.personal_data_erased_at:
        raise InterviewErased
    await settle(session, interview=interview, now=now, waits=waits)
    too_late = interview.closes_at is not None and now > interview.closes_at + STILL_OPEN
    if interview.status is Status.FAILED and interview.opened_by_join + 1 < ATTEMPTS and not too_late:
        interview.opened_by_join += 1
        await open_next_attempt(session, interview=interview, now=now, why="the candidate joined again after a failure")
        await session.flush()


def _refusal(interview: Interview, now: datetime) -> AppError | None:
    if interview.status.is_terminal:
        return InterviewOver(interviewStatus=interview.status)
    if interview.opens_at and now < interview.opens_at:
        wait = int((interview.opens_at - now).total_seconds()) + 1
        return TooEarly(opensAt=interview.opens_at, headers={"Retry-After": str(wait)})
    return None


def access_token(interview: Interview, *, attempt: int, status: Status, signer: Signer, now: datetime) -> str:
    """Return the candidate's token for the room of an attempt."""
    return signer.sign(_claims(interview, attempt=attempt, status=status, signer=signer, now=now))


def _claims(
    interview: Interview, *, attempt: int, status: Status, signer: Signer, now: datetime
) -> Mapping[str, object]:
    return signer.claims(
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

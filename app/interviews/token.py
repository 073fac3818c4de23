"""What a candidate's access token says: the room, the identity, and the eleven metadata fields of the seed."""

from datetime import datetime

from app.interviews.join_queries import JoinSnapshot
from app.lifecycle import Status
from app.livekit.access_tokens import Signer
from app.livekit.rooms import room_name
from app.models import Interview


def access_token(interview: Interview, *, attempt: int, status: Status, signer: Signer, now: datetime) -> str:
    """Return the candidate's token for the room of an attempt."""
    return signer.sign(claims_of(interview, attempt=attempt, status=status, signer=signer, now=now))


def claims_of(
    interview: Interview | JoinSnapshot, *, attempt: int, status: Status, signer: Signer, now: datetime
) -> dict[str, object]:
    """Return what that token says."""
    return signer.claims(
        identity=interview.candidate_identity,
        name=interview.participant_name,
        room=room_name(interview.id, attempt),
        metadata=metadata(interview, status),
        now=now,
    )


def metadata(interview: Interview | JoinSnapshot, status: Status) -> dict[str, object]:
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

"""A candidate's access token: the room, the identity, and the eleven metadata fields of the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.core.errors import TokenFieldNotAllowed
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
    """Return the claims of that token."""
    return signer.claims(
        identity=interview.candidate_identity,
        name=interview.participant_name,
        room=room_name(interview.id, attempt),
        metadata=metadata(interview, status),
        now=now,
    )


def metadata(interview: Interview | JoinSnapshot, status: Status) -> dict[str, object]:
    """Return the eleven fields that the agent reads from `participant.metadata`: the contract of the seed."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """The fields of LiveKit's TokenSourceRequest, as JSON. None and empty values ask for nothing."""

    room_name: Any = None
    participant_name: Any = None
    participant_identity: Any = None
    participant_metadata: Any = None
    participant_attributes: Any = None
    room_config: Any = None
    sent_as: Mapping[str, str] = field(default_factory=dict)
    """The client's names of the fields, where they differ."""


def check_token_options(token_options: TokenOptions, claims: Mapping[str, Any]) -> TokenFieldNotAllowed | None:
    """Return a refusal that names the options which differ from the token's claims; None if none does."""
    allowed = {
        "room_name": claims["video"]["room"],
        "participant_name": claims["name"],
        "participant_identity": claims["sub"],
        "participant_metadata": claims["metadata"],
        "participant_attributes": {},
        "room_config": claims["roomConfig"],
    }
    refused = [
        name for name, value in allowed.items() if not _matches(_normalized(getattr(token_options, name)), value)
    ]
    message = "must be left out or equal the interview's value"
    errors = [{"field": token_options.sent_as.get(name, name), "message": message} for name in refused]
    return TokenFieldNotAllowed(errors=errors) if errors else None


def _normalized(value: Any) -> Any:
    """Return the value without empty parts, and its keys in protojson's spelling: clients send both."""
    if isinstance(value, dict):
        normalized = {_camel(key): _normalized(inner) for key, inner in value.items()}
        return {key: inner for key, inner in normalized.items() if inner}
    if isinstance(value, list):
        return [inner for inner in map(_normalized, value) if inner]
    return value


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(map(str.capitalize, others))


def _matches(option: Any, allowed: Any) -> bool:
    """Return whether each part of the option is the same in `allowed`, which may have more."""
    if not option:
        return True
    if isinstance(option, dict) and isinstance(allowed, dict):
        return all(_matches(value, allowed.get(key)) for key, value in option.items())
    if isinstance(option, list) and isinstance(allowed, list):
        return len(option) == len(allowed) and all(map(_matches, option, allowed))
    return bool(option == allowed)

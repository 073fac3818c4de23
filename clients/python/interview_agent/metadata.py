"""The eleven fields that the candidate's access token carries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from interview_agent.errors import MetadataError
from interview_agent.fields import FieldReader, shown

if TYPE_CHECKING:
    from livekit import rtc

STRINGS = {
    "candidate_id": "candidateId",
    "participant_name": "participantName",
    "phone_number": "phoneNumber",
    "job_title": "jobTitle",
    "interview_id": "interviewId",
    "application_id": "applicationId",
    "job_post_id": "jobPostId",
    "company_name": "companyName",
    "instructions": "instructions",
    "status": "status",
}
ROOM_NAME = re.compile(r"interview-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-[0-9]+)?")


@dataclass(frozen=True)
class InterviewMetadata:
    """What the service tells about the interview, as it was when the candidate joined."""

    candidate_id: str
    participant_name: str
    phone_number: str
    job_title: str
    interview_id: str
    application_id: str
    job_post_id: str
    company_name: str
    instructions: str
    max_duration: int  # seconds
    status: str
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)  # fields that this version does not know

    @classmethod
    def parse(cls, text: str) -> InterviewMetadata:
        """Read a participant's metadata. Raises MetadataError, which names every missing and mistyped field."""
        try:
            fields = json.loads(text)
        except ValueError:
            raise MetadataError(["it is empty" if not text else "it is not JSON"]) from None
        if not isinstance(fields, dict):
            raise MetadataError([f"it is {shown(fields)} instead of an object"])
        reader = FieldReader(fields)
        strings = {name: reader.required(key, str) for name, key in STRINGS.items()}
        max_duration = reader.required("maxDuration", int)
        if reader.problems:
            raise MetadataError(reader.problems)
        known = {*STRINGS.values(), "maxDuration"}
        extra = MappingProxyType({key: value for key, value in fields.items() if key not in known})
        return cls(**strings, max_duration=max_duration, extra=extra)

    @classmethod
    def from_participant(cls, participant: rtc.Participant) -> InterviewMetadata:
        """Read the metadata of a participant of the room. Raises MetadataError."""
        return cls.parse(participant.metadata)


def interview_id_of_room(room_name: str) -> str | None:
    """Return the interview that a room belongs to, None for a room of something else."""
    match = ROOM_NAME.fullmatch(room_name)
    return match[1] if match else None

"""The names of LiveKit rooms."""

import re
import uuid
from typing import NamedTuple

ROOM_NAME = re.compile(
    r"interview-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:-([2-9]|[1-9][0-9]{1,8}))?"
)
PROBE_ROOM = "interviews-doctor-"  # and random digits


class RoomName(NamedTuple):
    """The interview and the attempt that a LiveKit room belongs to."""

    interview_id: uuid.UUID
    attempt: int


def room_name(interview_id: uuid.UUID, attempt: int) -> str:
    """Return the LiveKit room of an attempt: interview-{id}, then interview-{id}-2."""
    return f"interview-{interview_id}" if attempt == 1 else f"interview-{interview_id}-{attempt}"


def parse_room_name(name: str) -> RoomName | None:
    """Return the parts of a room name, None for a foreign room."""
    match = ROOM_NAME.fullmatch(name)
    return RoomName(uuid.UUID(match[1]), int(match[2] or 1)) if match else None

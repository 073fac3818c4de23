"""Who of the room's participants is the candidate, and whether they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from interview_agent.errors import CandidateMissing, MetadataError
from interview_agent.metadata import InterviewMetadata, interview_id_of_room

if TYPE_CHECKING:
    from livekit import rtc

CLIENT_INITIATED = 1  # LiveKit's DisconnectReason
STANDARD = 0  # LiveKit's ParticipantKind


async def wait_for_candidate(room: rtc.Room, *, seconds: float) -> tuple[rtc.RemoteParticipant, InterviewMetadata]:
    """Return the candidate and their metadata. Others in the room, for example an observer, are passed over.

    Raises CandidateMissing, and MetadataError if the candidate's metadata cannot be read.
    """
    interview_id = interview_id_of_room(room.name)
    if interview_id is None:
        raise CandidateMissing(f"The room {room.name!r} is not an interview's.")
    found: asyncio.Future[rtc.RemoteParticipant] = asyncio.get_running_loop().create_future()

    def look(participant: rtc.RemoteParticipant) -> None:
        if not found.done() and _is_candidate(participant, interview_id):
            found.set_result(participant)

    def stop(*_: Any) -> None:
        if not found.done():
            found.set_exception(CandidateMissing("The room closed before the candidate came."))

    room.on("participant_connected", look)
    room.on("disconnected", stop)
    try:
        for participant in room.remote_participants.values():
            look(participant)
        candidate = await asyncio.wait_for(found, seconds)
    except asyncio.TimeoutError:
        raise CandidateMissing(f"The candidate did not come within {seconds:g} seconds.") from None
    finally:
        room.off("participant_connected", look)
        room.off("disconnected", stop)
    return candidate, InterviewMetadata.from_participant(candidate)


def _is_candidate(participant: rtc.RemoteParticipant, interview_id: str) -> bool:
    """The candidate's identity begins with `candidate-`, and a candidate's metadata names the room's interview.

    Metadata that cannot be read is no reason to pass a candidate over: waiting would not make it better.
    """
    if participant.kind != STANDARD or not participant.identity.startswith("candidate-"):
        return False
    try:
        return InterviewMetadata.from_participant(participant).interview_id == interview_id
    except MetadataError:
        return True


class CandidatePresence:
    """Follows whether the candidate is in the room."""

    def __init__(self, room: rtc.Room, identity: str) -> None:
        self.identity = identity
        self.left_on_purpose = False
        self._room = room
        self._returned = asyncio.Event()
        room.on("participant_connected", self._on_connected)
        room.on("participant_disconnected", self._on_disconnected)

    @property
    def is_connected(self) -> bool:
        return self.identity in self._room.remote_participants

    async def call_on_return(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Call the handler each time that the candidate comes back, until cancelled."""
        while True:
            self._returned.clear()
            await self._returned.wait()
            await handler()

    def _on_connected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self.identity:
            self._returned.set()

    def _on_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self.identity:
            self.left_on_purpose = participant.disconnect_reason == CLIENT_INITIATED

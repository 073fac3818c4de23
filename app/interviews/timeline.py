"""The timeline of an interview, for people: everything that happened, in order, each change with its rule."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import literal, null, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import CursorInvalid
from app.core.pagination import decode_cursor, encode_cursor
from app.interviews.stored_facts import TOKEN_ISSUED
from app.models import JoinRequest, TimelineEntry

# What a rule of derive() means, in a sentence's second half.
RULES = {
    "nobody_connected": "nobody is in the room",
    "candidate_alone": "the candidate is connected, no agent is",
    "both_connected": "candidate and agent are both connected",
    "candidate_away": "the conversation has started, the candidate is gone",
    "cancelled": "it was cancelled",
    "agent_reported_completed": "the agent reported the conversation as completed",
    "agent_reported_failed": "the agent reported the conversation as failed",
    "agent_left": "the agent left on purpose while the candidate was connected",
    "room_deleted": "somebody deleted the room",
    "max_duration": "the maximum duration was over",
    "candidate_gone": "the candidate was gone for too long",
    "agent_missing": "the candidate waited too long for an agent",
    "window_over": "its time was over before it had started",
    "amended": "the agent reported the conversation as completed after all",
}
EVENTS = {
    "room_started": "The room was opened",
    "room_finished": "The room was closed",
    "participant_joined": "{who} joined",
    "participant_left": "{who} left ({reason})",
    "participant_connection_aborted": "{who} tried to connect and did not succeed",
    "room_checked": "LiveKit was asked: there {present}; newly found {joined}; gone {gone}",
}
SERVICE_ACTIONS = {
    "room_deleted": "The service deleted the room",
    "agent_dispatched": "The service dispatched an agent",
    "time_left_announced": "The room was told that {secondsLeft} seconds are left",
    "postponed": "A decision was put off ({why})",
    "personal_data_erased": "The service erased the personal data, which is kept for so long only",
}
CALLS = {
    "scheduled": "The interview was scheduled",
    "edited": "The interview was edited: {fields}",
    "cancelled": "The interview was cancelled",
    "reported": "The agent reported: {outcome}",
    "invited": "An invitation was made, valid until {expiresAt}; one made before is revoked",
    "invite_revoked": "The invitation was revoked",
    "personal_data_erased": "The personal data was erased",
    "too_early": "The candidate asked to join before it was open",
    "interview_over": "The candidate asked to join after it was over",
    "phone_number_required": "Somebody asked to join without a phone number",
    "wrong_phone_number": "Somebody asked to join with a wrong phone number, and was refused",
    "phone_number_unusable": "Somebody asked to join, but the phone number on file can't be compared: correct it",
    "invite_required": "Somebody asked to join without an invitation",
    "invite_invalid": "Somebody asked to join with an invitation that is not valid, and was refused",
    "too_many_tries": "Somebody asked to join after too many wrong tries, and was put off",
    TOKEN_ISSUED: "The candidate asked to join and got an access token",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. kind: livekit, call, service or status; source 0: the timeline, 1: a call of join."""

    at: datetime
    source: int
    id: int
    attempt: int
    kind: str
    name: str
    detail: dict[str, Any]

    @property
    def sentence(self) -> str:
        match self.kind:
            case "status" if self.name == "attempt_opened":
                return f"Attempt {self.attempt} was opened: {self.detail['why']}"
            case "status":
                reason = f" / {self.detail['endReason']}" if self.detail["endReason"] else ""
                return f"{self.detail['from']} -> {self.detail['to']}{reason}: {RULES.get(self.name, self.name)}"
            case "livekit":
                return EVENTS.get(self.name, self.name).format_map(_Words(self.detail))
            case "service":
                return SERVICE_ACTIONS.get(self.name, self.name).format_map(_Words(self.detail))
            case _:
                refused = f"The candidate asked to join and was refused: {self.name}"
                return CALLS.get(self.name, refused).format_map(_Words(self.detail))


class _Words(dict[str, Any]):
    """The words of a sentence, taken from an entry's detail."""

    def __missing__(self, key: str) -> str:
        return _who(str(self.get("identity", ""))) if key == "who" else "?"

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return (", ".join(map(str, value)) or "nobody") if isinstance(value, list) else value


ERASED = {"candidate": "The candidate", "agent": "The agent", "other": "Somebody"}  # all that is left of identities


def _who(identity: str) -> str:
    if identity in ERASED:
        return ERASED[identity]
    if identity.startswith("candidate-"):
        return "The candidate"
    return f"The agent {identity}" if identity.startswith("agent-") else f"Participant {identity}"


@dataclass(frozen=True, slots=True)
class TimelinePage:
    entries: Sequence[Entry]
    next_cursor: str | None


async def read_timeline(
    session: AsyncSession, *, interview_id: uuid.UUID, cursor: str | None, limit: int
) -> TimelinePage:
    """Return a page of what happened, oldest first, calls of join included. Raises CursorInvalid."""
    told = select(
        TimelineEntry.at,
        literal(0).label("source"),
        TimelineEntry.id,
        TimelineEntry.attempt,
        TimelineEntry.kind,
        TimelineEntry.name,
        TimelineEntry.detail,
    ).where(TimelineEntry.interview_id == interview_id)
    joins = select(
        JoinRequest.recorded_at,
        literal(1),
        JoinRequest.id,
        JoinRequest.attempt,
        literal("call"),
        JoinRequest.answer,
        null().cast(JSONB),
    ).where(JoinRequest.interview_id == interview_id)
    both = union_all(told, joins).subquery()
    query = select(both)
    place = tuple_(both.c.at, both.c.source, both.c.id)
    if cursor:
        query = query.where(place > tuple_(*_parse_cursor(cursor)))
    rows = (await session.execute(query.order_by(both.c.at, both.c.source, both.c.id).limit(limit + 1))).all()
    entries = [
        Entry(row.at, row.source, row.id, row.attempt, row.kind, row.name, row.detail or {}) for row in rows[:limit]
    ]
    return TimelinePage(entries, _next_cursor(entries[-1]) if len(rows) > limit else None)


def _next_cursor(last: Entry) -> str:
    return encode_cursor(last.at, last.source, last.id)


def _parse_cursor(cursor: str) -> tuple[datetime, int, int]:
    at, parts = decode_cursor(cursor, parts=2)
    try:
        source, key = map(int, parts)
    except ValueError as error:
        raise CursorInvalid from error
    if not (0 <= source <= 1 and 0 <= key < 2**63):
        raise CursorInvalid
    return at, source, key

"""The timeline of an interview, for recruiters: everything that happened, in order, in sentences."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.errors import CursorInvalid
from app.core.pagination import Page, decode_cursor, encode_cursor
from app.interviews.erasure import IDENTITY_LISTS, seen_as
from app.interviews.participant_names import participant_name
from app.interviews.stored_facts import TOKEN_ISSUED
from app.models import JoinRequest, RefusedJoins, TimelineEntry

# Why the status changed, by the rule of derive() that changed it: the second half of a sentence.
RULES = {
    "nobody_connected": "nobody is in the room",
    "candidate_alone": "the candidate is connected, no agent is",
    "both_connected": "candidate and agent are both connected",
    "candidate_away": "the conversation has started, and the candidate is away",
    "cancelled": "the interview was cancelled",
    "agent_reported_completed": "the agent reported that the conversation was completed",
    "agent_reported_failed": "the agent reported that the conversation failed",
    "agent_left": "the agent left on purpose while the candidate was connected",
    "room_deleted": "the room was deleted from outside the service",
    "agent_lost": "an agent was lost for the third time within ten minutes",
    "max_duration": "the maximum duration was reached",
    "candidate_gone": "the candidate was away for too long",
    "agent_missing": "the candidate waited too long for an agent",
    "window_over": "the time to join was over before the conversation started",
    "never_started": "the conversation had not started by the last moment for it",
    "amended": "the agent reported afterwards that the conversation was completed",
}
EVENTS = {
    "room_started": "The room was opened",
    "room_finished": "The room was closed",
    "participant_joined": "{who} joined",
    "participant_left": "{who} left ({reason})",
    "participant_connection_aborted": "{who} tried to connect and failed",
    "room_checked": "LiveKit was asked who is in the room: {present}. Newly found: {joined}. Gone: {gone}",
}
SERVICE_ACTIONS = {
    "room_deleted": "The service deleted the room",
    "agent_dispatched": "The service dispatched an agent",
    "time_left_announced": "The service announced in the room that {secondsLeft} seconds are left",
    "postponed": "The service postponed a decision ({why})",
    "personal_data_erased": "The service erased the personal data, because its retention period is over",
}
CALLS = {
    "scheduled": "The interview was scheduled",
    "edited": "The interview was edited: {fields}",
    "cancelled": "The interview was cancelled",
    "reported": "The agent reported: {outcome}",
    "invited": "An invitation was created, valid until {expiresAt}; any earlier one is revoked",
    "invite_revoked": "The invitation was revoked",
    "personal_data_erased": "The personal data was erased",
    "too_early": "The candidate tried to join before the interview was open",
    "interview_over": "The candidate tried to join after the interview was over",
    "phone_number_required": "Someone tried to join without a phone number",
    "wrong_phone_number": "Someone tried to join with a wrong phone number",
    "phone_number_unreadable": "Someone tried to join with a text that is no phone number",
    "phone_number_unusable": "Someone tried to join, but the phone number on file is not valid: correct it",
    "invite_required": "Someone tried to join without an invitation",
    "invite_invalid": "Someone tried to join with an invitation that is not valid",
    "too_many_tries": "Someone tried to join after too many failed tries, and has to wait",
    TOKEN_ISSUED: "The candidate asked to join and got an access token",
}


REFUSED = 2  # the source of an entry that stands for the refused joins of a minute


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. kind: livekit, call, service or status.

    source: 0 for the timeline, 1 for a join request, 2 for the refused joins of a minute.
    """

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
                return f"Attempt {self.attempt} was opened: {self.detail['why']}{self._given_reason}"
            case "status":
                reason = f" / {self.detail['endReason']}" if self.detail["endReason"] else ""
                return f"{self.detail['from']} -> {self.detail['to']}{reason}: {RULES.get(self.name, self.name)}"
            case "livekit":
                sentence = EVENTS.get(self.name, self.name).format_map(_Values(self.detail))
                return sentence[:1].upper() + sentence[1:]
            case "service":
                return SERVICE_ACTIONS.get(self.name, self.name).format_map(_Values(self.detail))
            case _:
                refused = f"The candidate tried to join and was refused: {self.name}"
                return (
                    CALLS.get(self.name, refused).format_map(_Values(self.detail))
                    + self._how_often
                    + self._given_reason
                )

    @property
    def _how_often(self) -> str:
        """How many refused joins the entry stands for, as the end of a sentence."""
        number = self.detail.get("number", 1) if self.source == REFUSED else 1
        return f" ({number} times within a minute)" if number > 1 else ""

    @property
    def _given_reason(self) -> str:
        """The recruiter's reason, as the end of a sentence."""
        reason = self.detail.get("reason")
        return f'. Reason given: "{reason}"' if reason else ""


class _Values(dict[str, Any]):
    """The values for a sentence's placeholders, taken from an entry's detail."""

    def __missing__(self, key: str) -> str:
        return participant_name(str(self.get("identity", "")), self) if key == "who" else "?"

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if key in IDENTITY_LISTS:
            value = [participant_name(identity, seen) for identity, seen in seen_as(key, value, self)]
        return (", ".join(map(str, value)) or "nobody") if isinstance(value, list) else value


async def read_timeline(
    session: AsyncSession, *, interview_id: uuid.UUID, cursor: str | None, limit: int
) -> Page[Entry]:
    """Return a page of entries, oldest first, joins included. Raises CursorInvalid."""
    entry, join, refused = TimelineEntry, JoinRequest, RefusedJoins
    call, nothing = literal("call"), literal({}, JSONB)
    number = func.jsonb_build_object("number", refused.number)
    entries = select(
        entry.at, literal(0).label("source"), entry.id, entry.attempt, entry.kind, entry.name, entry.detail
    )
    joins = select(join.recorded_at, literal(1), join.id, join.attempt, call, join.answer, nothing)
    counts = select(refused.recorded_at, literal(REFUSED), refused.id, refused.attempt, call, refused.answer, number)
    found = union_all(
        entries.where(entry.interview_id == interview_id),
        joins.where(join.interview_id == interview_id),
        counts.where(refused.interview_id == interview_id),
    ).subquery()
    order = found.c.at, found.c.source, found.c.id
    query = select(found).order_by(*order).limit(limit + 1)
    if cursor:
        query = query.where(tuple_(*order) > tuple_(*_parse_cursor(cursor)))
    rows = [Entry(*row) for row in await session.execute(query)]
    return Page.of(rows, limit, lambda last: encode_cursor(last.at, last.source, last.id))


def _parse_cursor(cursor: str) -> tuple[datetime, int, int]:
    at, parts = decode_cursor(cursor, parts=2)
    try:
        source, key = map(int, parts)
    except ValueError as error:
        raise CursorInvalid from error
    if not (0 <= source <= REFUSED and 0 <= key < 2**63):
        raise CursorInvalid
    return at, source, key

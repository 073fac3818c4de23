"""Record LiveKit's webhooks as facts about interviews and update their statuses, a batch in one transaction."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import asyncpg
import orjson
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.batching import Batcher, Deferred
from app.core.database import is_per_item, raw_connection, transaction
from app.interviews.erasure import identity_kept, redact
from app.interviews.interview_rows import InterviewRow, existing_ids, lock_row, lock_rows
from app.interviews.participant_events import OUTCOME, EventRecord, ParticipantEvent, outcome_of, record_events, role_of
from app.interviews.status_update import update_statuses
from app.lifecycle import CONNECTION_TIMEOUT, UNKNOWN, Role, Timeouts
from app.livekit.rooms import PROBE_ROOM, RoomName, parse_room_name
from app.livekit.webhooks import Event, Participant
from app.models import Probe

log = logging.getLogger(__name__)

RECORDED = {"room_started", "participant_joined", "participant_left", "participant_connection_aborted", "room_finished"}
NOT_LOGGED = {"track_published", "track_unpublished"}  # several in each conversation, of no effect on the status

MAX_OUTCOME_LENGTH = 64  # characters kept on the timeline: a participant with the right grant writes what it likes
WHOLE_SECOND = timedelta(seconds=1)  # LiveKit rounds a webhook's time down to the second
NOTICED_AFTER = timedelta(seconds=20)  # what LiveKit takes to notice that a connection timed out

MAX_BATCH = 64  # events in one transaction
WAITING_CONCURRENCY = 2  # events that wait for a lock: each holds a connection

Sessions = async_sessionmaker[AsyncSession]


class WebhookResult(StrEnum):
    """The result of a webhook, as LiveKit gets it in the response."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event in the room of an interview's attempt. It arrived at `now`."""

    room: RoomName
    event: Event
    now: datetime


async def record_webhook(
    sessions: Sessions, batcher: Batcher[RoomEvent, WebhookResult], *, event: Event, now: datetime
) -> WebhookResult:
    """Record the event, and return once it is committed. Raises DatabaseUnavailable."""
    if event.room_name.startswith(PROBE_ROOM):
        async with transaction(sessions) as session:
            return await note_probe_webhook(session, event, now)
    in_room = as_room_event(event, now)
    return await batcher(in_room) if in_room else WebhookResult.IGNORED


def event_batcher(sessions: Sessions, *, timeouts: Timeouts, agent_name: str) -> Batcher[RoomEvent, WebhookResult]:
    """Return a batcher that records concurrent events in one transaction, and those of each interview in order.

    An event whose interview is locked elsewhere waits for the lock in a transaction of its own. If a batch fails, each
    of its events is tried in a transaction of its own, because one of them may be at fault.
    """

    async def record_alone(events: Sequence[RoomEvent]) -> Sequence[WebhookResult]:
        (event,) = events
        async with raw_connection(sessions, transaction=True) as connection:
            return [await record_one(connection, event, timeouts=timeouts, agent_name=agent_name)]

    async def record_batch(events: Sequence[RoomEvent]) -> Sequence[WebhookResult | Deferred[WebhookResult]]:
        try:
            async with raw_connection(sessions, transaction=True) as connection:
                results = await record_many(connection, events, timeouts=timeouts, agent_name=agent_name)
        except Exception as error:
            if len(events) == 1 or not is_per_item(error):
                raise
            log.warning("a batch of %d webhooks failed, each is recorded alone", len(events), exc_info=True)
            results = [None] * len(events)
        return [result or Deferred(partial(one_by_one, event)) for result, event in zip(results, events, strict=True)]

    one_by_one = Batcher(record_alone, max_batch=1, concurrency=WAITING_CONCURRENCY)
    return Batcher(record_batch, max_batch=MAX_BATCH, concurrency=1, key=lambda event: event.room.interview_id)


def as_room_event(event: Event, now: datetime) -> RoomEvent | None:
    """Return the event with its interview's room; None if it is not to be recorded."""
    if event.name in NOT_LOGGED:
        return None
    room = parse_room_name(event.room_name)
    if event.name in RECORDED and room:
        return RoomEvent(room, event, now)
    # The name of a foreign room may be personal data.
    where = event.room_name if room else "a foreign room" if event.room_name else "no room"
    log.info("webhook ignored: event %r%s, %s", event.name, "" if event.name in RECORDED else " is not used", where)
    return None


async def note_probe_webhook(session: AsyncSession, event: Event, now: datetime) -> WebhookResult:
    """Record that a webhook about a room of `doctor` has arrived. Only rooms that it waits for have a row."""
    arrival = update(Probe).where(Probe.room == event.room_name, Probe.arrived_at.is_(None)).values(arrived_at=now)
    is_expected = await session.scalar(arrival.returning(Probe.room))
    return WebhookResult.RECORDED if is_expected else WebhookResult.IGNORED


async def record_one(
    connection: asyncpg.Connection, event: RoomEvent, *, timeouts: Timeouts, agent_name: str
) -> WebhookResult:
    """Record an event, waiting for its interview's lock."""
    row = await lock_row(connection, event.room.interview_id)
    if row is None:
        return _unknown(event)
    return (await _record(connection, [(event, row)], timeouts=timeouts, agent_name=agent_name))[0]


async def record_many(
    connection: asyncpg.Connection, events: Sequence[RoomEvent], *, timeouts: Timeouts, agent_name: str
) -> list[WebhookResult | None]:
    """Record one event of each interview without waiting for locks; None where the interview is locked elsewhere.

    The number of statements does not depend on the number of events.
    """
    ids = [event.room.interview_id for event in events]
    rows = await lock_rows(connection, ids)
    locked_elsewhere = await existing_ids(connection, [id_ for id_ in ids if id_ not in rows])
    pairs = [(event, rows[id_]) for event, id_ in zip(events, ids, strict=True) if id_ in rows]
    results = iter(await _record(connection, pairs, timeouts=timeouts, agent_name=agent_name))
    return [
        next(results) if id_ in rows else None if id_ in locked_elsewhere else _unknown(event)
        for event, id_ in zip(events, ids, strict=True)
    ]


def _unknown(event: RoomEvent) -> WebhookResult:
    log.warning("webhook ignored: no interview has the room %r", event.event.room_name)
    return WebhookResult.IGNORED


async def _record(
    connection: asyncpg.Connection,
    pairs: Sequence[tuple[RoomEvent, InterviewRow]],
    *,
    timeouts: Timeouts,
    agent_name: str,
) -> list[WebhookResult]:
    """Store one event of each locked interview, and update the statuses of those whose event is new."""
    known = [(event, row) for event, row in pairs if event.room.attempt <= row.attempt]
    records = [_event_record(event, row, agent_name) for event, row in known]
    new = await record_events(connection, records) if records else set()
    if new:
        now = max(event.now for event, _ in pairs)
        await update_statuses(connection, [row for _, row in known if row.id in new], now=now, timeouts=timeouts)
    results = {True: WebhookResult.RECORDED, False: WebhookResult.DUPLICATE}
    return [_unknown(event) if event.room.attempt > row.attempt else results[row.id in new] for event, row in pairs]


def _event_record(room_event: RoomEvent, row: InterviewRow, agent_name: str) -> EventRecord:
    event, who = room_event.event, room_event.event.participant
    role = role_of(who, row, agent_name=agent_name) if who else None
    return EventRecord(
        interview_id=row.id,
        attempt=room_event.room.attempt,
        name=event.name,
        detail=orjson.dumps(_detail(event, role, row)).decode(),
        livekit_event_id=event.id or None,
        recorded_at=room_event.now,
        room_sid=event.room_sid or None,
        room_created_at=event.room_created_at or event.created_at,
        room_ended_at=event.created_at + WHOLE_SECOND if event.name == "room_finished" else None,
        participant=_participant_event(event, who, role, row) if who and role else None,
    )


def _detail(event: Event, role: Role | None, row: InterviewRow) -> dict[str, Any]:
    detail: dict[str, Any] = {"createdAt": event.created_at.isoformat(), "roomSid": event.room_sid}
    if who := event.participant:
        detail |= {"identity": who.identity, "sid": who.sid, "kind": who.kind, "reason": who.disconnect_reason}
        detail |= {"role": role, "hidden": who.hidden}
        detail |= {"outcome": who.attributes.get(OUTCOME, "")[:MAX_OUTCOME_LENGTH]}
    detail = {key: value for key, value in detail.items() if value}
    return redact(detail, {}) if row.personal_data_erased_at else detail


def _participant_event(event: Event, who: Participant, role: Role, row: InterviewRow) -> ParticipantEvent | None:
    if event.name not in ("participant_joined", "participant_left") or not who.sid:
        return None
    if role is Role.OTHER:
        log.info("interview %s: %s of kind %s is neither candidate nor interviewer", row.id, who.sid, who.kind)
    left = event.name == "participant_left"
    return ParticipantEvent(
        sid=who.sid,
        identity=identity_kept(who.identity, role, row),
        role=role,
        joined_at=who.joined_at or event.created_at,
        left_at=_left_at(event, who) if left else None,
        leave_reason=(who.disconnect_reason or UNKNOWN) if left else None,
        outcome=outcome_of(who) if left and who.kind == "AGENT" else None,
    )


def _left_at(event: Event, who: Participant) -> datetime:
    """Return when the participant left: at the end of the event's second, or earlier if its connection timed out."""
    noticed_at = event.created_at + WHOLE_SECOND
    return noticed_at - NOTICED_AFTER if who.disconnect_reason == CONNECTION_TIMEOUT else noticed_at

"""Records LiveKit's webhooks as facts about their interviews, and settles those: many of them in one transaction."""

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
from app.interviews.interview_rows import InterviewRow, existing, lock_row, lock_rows
from app.interviews.participant_events import OUTCOME, EventRecord, ParticipantEvent, outcome_of, record_events, role_of
from app.interviews.status_update import update_statuses
from app.lifecycle import CONNECTION_TIMEOUT, UNKNOWN, Role, Timeouts
from app.livekit.rooms import PROBE_ROOM, RoomName, parse_room_name
from app.livekit.webhooks import Event, Participant
from app.models import Probe

log = logging.getLogger(__name__)

RECORDED = {
    "room_started",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "room_finished",
}
WITHOUT_EVIDENCE = {"track_published", "track_unpublished"}  # several a conversation, and they move nothing

LONGEST_OUTCOME = 64  # characters of it that the timeline keeps: anybody may set attributes who may set metadata
WHOLE_SECOND = timedelta(seconds=1)  # LiveKit stamps a webhook with whole seconds, so a leave was at its end or before
NOTICED_AFTER = timedelta(seconds=20)  # LiveKit notices a connection that timed out only then

MAX_BATCH = 64  # events in one transaction
WAITING_CONCURRENCY = 2  # events that wait for a lock: each holds a connection

Sessions = async_sessionmaker[AsyncSession]


class WebhookResult(StrEnum):
    """What became of a webhook."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event about the room of an interview's attempt, and when it arrived."""

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
    about = room_event(event, now)
    if about is None:
        return WebhookResult.IGNORED
    return await batcher(about)


def event_batcher(sessions: Sessions, *, timeouts: Timeouts) -> Batcher[RoomEvent, WebhookResult]:
    """Return what records the events that come at the same time in one transaction, and each interview's in order.

    An event whose interview somebody else has locked leaves the transaction, and waits for the lock in one of its own;
    so does each event of a transaction that failed, because it may be one event's fault.
    """

    async def alone(one: Sequence[RoomEvent]) -> Sequence[WebhookResult]:
        (event,) = one
        async with raw_connection(sessions, transaction=True) as connection:
            return [await record_one(connection, event, timeouts=timeouts)]

    async def together(events: Sequence[RoomEvent]) -> Sequence[WebhookResult | Deferred[WebhookResult]]:
        recorded: Sequence[WebhookResult | None] = [None] * len(events)
        try:
            async with raw_connection(sessions, transaction=True) as connection:
                recorded = await record_many(connection, events, timeouts=timeouts)
        except Exception as error:
            if len(events) == 1 or not is_per_item(error):
                raise
            log.warning("%d webhooks are recorded one by one, because together they failed", len(events), exc_info=True)
            recorded = [None] * len(events)
        return [each or Deferred(partial(one_by_one, event)) for each, event in zip(recorded, events, strict=True)]

    one_by_one = Batcher(alone, max_batch=1, concurrency=WAITING_CONCURRENCY)
    return Batcher(together, max_batch=MAX_BATCH, concurrency=1, key=lambda about: about.room.interview_id)


def room_event(event: Event, now: datetime) -> RoomEvent | None:
    """Return the event as one about an interview's room; None if it tells nothing of any."""
    if event.name in WITHOUT_EVIDENCE:
        return None
    room = parse_room_name(event.room_name)
    if event.name not in RECORDED or room is None:
        # a name that is not ours to give may be anybody's
        log.info("webhook ignored: event %r, %s", event.name, event.room_name if room else "a room of somebody else")
        return None
    return RoomEvent(room, event, now)


async def note_probe_webhook(session: AsyncSession, event: Event, now: datetime) -> WebhookResult:
    """Note that a webhook about a doctor's room has arrived. Only rooms that it waits for have a row."""
    waiting = (
        update(Probe)
        .where(Probe.room == event.room_name, Probe.arrived_at.is_(None))
        .values(arrived_at=now)
        .returning(Probe.room)
    )
    return WebhookResult.RECORDED if await session.scalar(waiting) else WebhookResult.IGNORED


async def record_one(connection: asyncpg.Connection, event: RoomEvent, *, timeouts: Timeouts) -> WebhookResult:
    """Record an event, waiting for its interview's lock."""
    row = await lock_row(connection, event.room.interview_id)
    if row is None:
        return _unknown(event)
    return (await _record(connection, [(event, row)], timeouts=timeouts))[0]


async def record_many(
    connection: asyncpg.Connection, events: Sequence[RoomEvent], *, timeouts: Timeouts
) -> list[WebhookResult | None]:
    """Record one event of each of several interviews, waiting for no lock; None for one that somebody else has locked.

    The number of statements does not depend on the number of events.
    """
    ids = [each.room.interview_id for each in events]
    rows = await lock_rows(connection, ids)
    locked = await existing(connection, [each for each in ids if each not in rows])
    found = [(each, rows[each.room.interview_id]) for each in events if each.room.interview_id in rows]
    recorded = iter(await _record(connection, found, timeouts=timeouts))
    return [
        next(recorded)
        if each.room.interview_id in rows
        else (None if each.room.interview_id in locked else _unknown(each))
        for each in events
    ]


def _unknown(event: RoomEvent) -> WebhookResult:
    log.warning("webhook ignored: no interview has the room %r", event.event.room_name)
    return WebhookResult.IGNORED


async def _record(
    connection: asyncpg.Connection, found: Sequence[tuple[RoomEvent, InterviewRow]], *, timeouts: Timeouts
) -> list[WebhookResult]:
    """Store the evidence of one event of each locked interview, and settle those that it is news to."""
    known = [(each, row) for each, row in found if each.room.attempt <= row.attempt]
    news = await record_events(connection, [_event_record(each, row) for each, row in known]) if known else set()
    if news:
        now = max(each.now for each, _ in found)
        await update_statuses(connection, [row for _, row in known if row.id in news], now=now, timeouts=timeouts)
    return [
        _unknown(each)
        if each.room.attempt > row.attempt
        else (WebhookResult.RECORDED if row.id in news else WebhookResult.DUPLICATE)
        for each, row in found
    ]


def _event_record(about: RoomEvent, row: InterviewRow) -> EventRecord:
    event = about.event
    return EventRecord(
        interview_id=row.id,
        attempt=about.room.attempt,
        name=event.name,
        detail=orjson.dumps(_detail(event, row)).decode(),
        livekit_event_id=event.id or None,
        recorded_at=about.now,
        room_sid=event.room_sid or None,
        room_created_at=event.room_created_at or event.created_at,
        room_ended_at=event.created_at + WHOLE_SECOND if event.name == "room_finished" else None,
        connection=_participant_event(event, event.participant, row) if event.participant else None,
    )


def _detail(event: Event, row: InterviewRow) -> dict[str, Any]:
    roles = {}
    detail = {"createdAt": event.created_at.isoformat(), "roomSid": event.room_sid}
    if event.participant:
        who = event.participant
        detail |= {"identity": who.identity, "sid": who.sid, "kind": who.kind, "reason": who.disconnect_reason}
        detail |= {"outcome": who.attributes.get(OUTCOME, "")[:LONGEST_OUTCOME]}
        roles = {who.identity: role_of(who, row)}
    said = {key: value for key, value in detail.items() if value}
    return redact(said, roles) if row.personal_data_erased_at else said


def _participant_event(event: Event, who: Participant, row: InterviewRow) -> ParticipantEvent | None:
    if event.name not in ("participant_joined", "participant_left") or not who.sid:
        return None
    role = role_of(who, row)
    if role is Role.OTHER:
        log.info("interview %s: %s of kind %s is neither candidate nor agent", row.id, who.sid, who.kind)
    left = event.name == "participant_left"
    return ParticipantEvent(
        sid=who.sid,
        identity=identity_kept(who, row),
        role=role,
        joined_at=who.joined_at or event.created_at,
        left_at=_left_at(event, who) if left else None,
        leave_reason=(who.disconnect_reason or UNKNOWN) if left else None,
        outcome=outcome_of(who) if left and role is Role.AGENT else None,
    )


def _left_at(event: Event, who: Participant) -> datetime:
    """Return the end of the second in which somebody left; one whose connection timed out was gone 20 s before."""
    noticed_at = event.created_at + WHOLE_SECOND
    return noticed_at - NOTICED_AFTER if who.disconnect_reason == CONNECTION_TIMEOUT else noticed_at

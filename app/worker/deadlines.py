"""Processes one due interview: ask LiveKit, update the status, apply effects. No transaction spans a network call."""

import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.core import metrics
from app.core.database import driver_connection, raw_connection, transaction
from app.interviews.interview_rows import InterviewRow, lock_row, read_row, time_left
from app.interviews.participant_events import role_of
from app.interviews.room_snapshots import record_room_snapshot
from app.interviews.status_update import update_statuses
from app.interviews.stored_facts import load_facts
from app.lifecycle import AnnounceTimeLeft, DeleteRoom, Derived, DispatchAgent, Effect, Role, derive
from app.livekit.client import LiveKitUnavailable, RoomSnapshot
from app.livekit.webhooks import Participant
from app.worker import WorkerContext, effects

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=40)  # above the sum of LiveKit's timeouts for one interview
STILL_DUE_DELAY = timedelta(seconds=2)  # before an interview that is still due is processed again: no hot loop

_CLAIM = """
    UPDATE interviews SET leased_until = $2
    WHERE id = (
        SELECT id FROM interviews
        WHERE next_deadline_at <= $1 AND (leased_until IS NULL OR leased_until <= $1)
        ORDER BY next_deadline_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    RETURNING id
"""


async def claim(context: WorkerContext, *, now: datetime) -> uuid.UUID | None:
    """Lease the interview that has been due longest; return None if nothing is due.

    While LiveKit is unreachable nothing is claimed: to postpone every interview would take as long as to process it.
    """
    if context.livekit.is_away:
        return None
    async with raw_connection(context.sessions) as connection:
        claimed: uuid.UUID | None = await connection.fetchval(_CLAIM, now, now + LEASE)
    return claimed


async def process_due_interview(context: WorkerContext, interview_id: uuid.UUID) -> None:
    """Do what is due for a claimed interview. If LiveKit does not answer, postpone it; the timeline shows that."""
    try:
        await _process(context, interview_id)
    except LiveKitUnavailable as error:
        log.warning("LiveKit is unreachable, interview %s is postponed: %s", interview_id, error)
        await _postpone(context, interview_id, "LiveKit did not answer", now=datetime.now(UTC))
    except Exception as error:
        log.exception("interview %s could not be processed", interview_id)
        metrics.WORKER_ERRORS.inc()
        # without an update: that may be what failed
        async with raw_connection(context.sessions) as connection:
            await effects.postpone(connection, interview_id, type(error).__name__, now=datetime.now(UTC))


async def _process(context: WorkerContext, interview_id: uuid.UUID) -> None:
    now = datetime.now(UTC)
    async with raw_connection(context.sessions) as connection:
        interview = _existing(await read_row(connection, interview_id), interview_id)
        facts = await load_facts(connection, [interview])
    derived = derive(facts[interview.id], now, context.timeouts)
    # An end that was decided only because LiveKit was away is not stored yet: LiveKit may answer now.
    unstored = derived.decision and not interview.status.is_terminal
    if derived.undecided or unstored or any(isinstance(effect, DispatchAgent) for effect in _due(derived, now)):
        room_snapshot = await context.livekit.room_snapshot(interview.room_name)
        derived = await _record_snapshot(context, interview, room_snapshot)
        if any(_is_interviewer(who, interview, context) for who in room_snapshot.arriving):
            # whether it gets there shows when the interview is processed again
            others = tuple(effect for effect in derived.effects if not isinstance(effect, DispatchAgent))
            derived = replace(derived, effects=others)
    for effect in _due(derived, now):  # one that fails stays due
        match effect:
            case DeleteRoom():
                await _delete_room(context, interview)
            case DispatchAgent():
                await _dispatch_agent(context, interview)
            case AnnounceTimeLeft(time_left=due):
                await _announce_time_left(context, interview, due)
    await _release(context, interview_id)


def _is_interviewer(who: Participant, interview: InterviewRow, context: WorkerContext) -> bool:
    return role_of(who, interview, agent_name=context.agent_name) is Role.AGENT


def _due(derived: Derived, now: datetime) -> list[Effect]:
    return [effect for effect in derived.effects if effect.due_at <= now]


async def _record_snapshot(context: WorkerContext, interview: InterviewRow, room_snapshot: RoomSnapshot) -> Derived:
    """Record what LiveKit showed, unless a later attempt was opened meanwhile, and update the status."""
    async with transaction(context.sessions) as session:
        connection = await driver_connection(session)
        locked = _existing(await lock_row(connection, interview.id), interview.id)
        now = datetime.now(UTC)
        if locked.attempt == interview.attempt:
            await record_room_snapshot(
                session, interview=locked, room_snapshot=room_snapshot, agent_name=context.agent_name, now=now
            )
        return (await update_statuses(connection, [locked], now=now, timeouts=context.timeouts))[locked.id]


async def _delete_room(context: WorkerContext, interview: InterviewRow) -> None:
    gone_at = datetime.now(UTC)  # before the request: who joins while LiveKit answers is in a new room
    existed = await context.livekit.delete_room(interview.room_name)
    async with raw_connection(context.sessions) as connection:
        came_back = await effects.room_deleted(connection, interview, gone_at=gone_at, existed=existed)
    if came_back is not None:
        metrics.ROOMS_DELETED.labels(why="came_back" if came_back else "ended").inc(existed)


async def _dispatch_agent(context: WorkerContext, interview: InterviewRow) -> None:
    number = interview.dispatches + 1  # the same until it is recorded: after a crash LiveKit knows the mark already
    mark = f"interview.dispatch={number}"
    dispatched_at = datetime.now(UTC)
    await context.livekit.dispatch_agent(interview.room_name, agent_name=context.agent_name, mark=mark)
    async with raw_connection(context.sessions) as connection:
        await effects.agent_dispatched(connection, interview, number=number, at=dispatched_at)
    metrics.AGENTS_DISPATCHED.inc()


async def _announce_time_left(context: WorkerContext, interview: InterviewRow, due: timedelta) -> None:
    """Send the time that is really left, which may be less than the one that is due."""
    async with raw_connection(context.sessions) as connection:
        current = await read_row(connection, interview.id)
    remaining = time_left(current, datetime.now(UTC)) if current and current.attempt == interview.attempt else None
    if remaining is None:
        return
    seconds = round(remaining.total_seconds())
    payload: dict[str, object] = {"secondsLeft": seconds}
    is_sent = await context.livekit.send_data(interview.room_name, topic="interview.time", payload=payload)
    announced = min(due, timedelta(seconds=seconds))
    async with raw_connection(context.sessions) as connection:
        await effects.time_left_announced(connection, interview, announced=announced, seconds=seconds, is_sent=is_sent)


async def _release(context: WorkerContext, interview_id: uuid.UUID) -> None:
    """Update the status after the effects, and give the lease back."""
    async with raw_connection(context.sessions, transaction=True) as connection:
        interview = _existing(await lock_row(connection, interview_id), interview_id)
        now = datetime.now(UTC)
        derived = (await update_statuses(connection, [interview], now=now, timeouts=context.timeouts))[interview.id]
        is_due = derived.next_deadline_at is not None and derived.next_deadline_at <= now
        await effects.release(connection, interview_id, until=now + STILL_DUE_DELAY if is_due else None)


async def _postpone(context: WorkerContext, interview_id: uuid.UUID, why: str, *, now: datetime) -> None:
    """Update the status from what is stored, and try again later."""
    async with raw_connection(context.sessions, transaction=True) as connection:
        interview = _existing(await lock_row(connection, interview_id), interview_id)
        await update_statuses(connection, [interview], now=now, timeouts=context.timeouts)
        await effects.postpone(connection, interview_id, why, now=now)
    metrics.POSTPONED.inc()


def _existing(interview: InterviewRow | None, interview_id: uuid.UUID) -> InterviewRow:
    if interview is None:
        raise LookupError(f"interview {interview_id} is gone")
    return interview

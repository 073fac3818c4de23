"""Attends to one due interview: ask LiveKit, settle, fulfil its wishes. No network call is made in a transaction."""

import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.core import metrics
from app.core.database import driver_connection, raw_connection, transaction
from app.interviews.interview_rows import InterviewRow, lock_row, read_row
from app.interviews.participant_events import role_of
from app.interviews.room_snapshots import record_room_snapshot
from app.interviews.status_update import update_statuses
from app.interviews.stored_facts import load_facts
from app.lifecycle import AnnounceTimeLeft, DeleteRoom, Derived, DispatchAgent, Effect, Role, derive
from app.livekit.client import LiveKitUnavailable, RoomSnapshot
from app.worker import effects
from app.worker.context import Context

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=40)  # above the sum of LiveKit's timeouts for one interview
STILL_DUE = timedelta(seconds=2)  # until what is due even after it was attended to is taken up again: never at once

_CLAIM = """
    UPDATE interviews SET leased_until = $2
    WHERE id = (
        SELECT id FROM interviews
        WHERE next_deadline_at <= $1 AND (leased_until IS NULL OR leased_until <= $1)
        ORDER BY next_deadline_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    RETURNING id
"""


async def claim(context: Context, *, now: datetime) -> uuid.UUID | None:
    """Take the interview that has been due longest, for as long as the lease; None if nothing is due.

    Nothing is while nobody listens at LiveKit's address: all would be put off, which takes as long as doing it.
    """
    if context.livekit.is_away:
        return None
    async with raw_connection(context.sessions) as connection:
        claimed: uuid.UUID | None = await connection.fetchval(_CLAIM, now, now + LEASE)
    return claimed


async def process_due_interview(context: Context, interview_id: uuid.UUID) -> None:
    """Do what is due for a claimed interview. LiveKit away: it is put off, and the timeline says so."""
    try:
        await _process(context, interview_id)
    except LiveKitUnavailable as error:
        log.warning("interview %s is put off, LiveKit did not answer: %s", interview_id, error)
        await _postpone(context, interview_id, "LiveKit did not answer", now=datetime.now(UTC))
    except Exception as error:
        log.exception("interview %s could not be attended to", interview_id)
        metrics.WORKER_ERRORS.inc()
        await _postpone_without_update(context, interview_id, type(error).__name__, now=datetime.now(UTC))


async def _process(context: Context, interview_id: uuid.UUID) -> None:
    now = datetime.now(UTC)
    interview, derived = await _look(context, interview_id, now)
    # An end that the day's silence alone has decided is not stored yet: LiveKit may well answer now.
    unstored = derived.decision and not interview.status.is_terminal
    if derived.undecided or unstored or any(isinstance(wish, DispatchAgent) for wish in _due(derived, now)):
        room_snapshot = await context.livekit.room_snapshot(interview.room_name)
        derived = await _settle(context, interview, room_snapshot)
        if _agent_arrives(
            interview, room_snapshot
        ):  # whether it gets there is seen when the interview is taken up again
            derived = replace(derived, effects=tuple(w for w in derived.effects if not isinstance(w, DispatchAgent)))
    for wish in _due(derived, now):
        await _carry_out(context, interview, wish)
    await _release(context, interview_id)


def _due(derived: Derived, now: datetime) -> list[Effect]:
    return [wish for wish in derived.effects if wish.due_at <= now]


def _agent_arrives(interview: InterviewRow, room_snapshot: RoomSnapshot) -> bool:
    return any(role_of(who, interview) is Role.AGENT for who in room_snapshot.arriving)


async def _look(context: Context, interview_id: uuid.UUID, now: datetime) -> tuple[InterviewRow, Derived]:
    """Return the interview and what is due, without a lock."""
    async with raw_connection(context.sessions) as connection:
        interview = _there(await read_row(connection, interview_id), interview_id)
        facts = await load_facts(connection, [interview])
    return interview, derive(facts[interview.id], now, context.timeouts)


async def _settle(context: Context, interview: InterviewRow, room_snapshot: RoomSnapshot) -> Derived:
    """Record what LiveKit showed of the attempt that was looked at, and settle; of a later attempt it says nothing."""
    async with transaction(context.sessions) as session:
        connection = await driver_connection(session)
        locked = _there(await lock_row(connection, interview.id), interview.id)
        now = datetime.now(UTC)
        if locked.attempt == interview.attempt:
            await record_room_snapshot(session, interview=locked, room_snapshot=room_snapshot, now=now)
        return (await update_statuses(connection, [locked], now=now, timeouts=context.timeouts))[locked.id]


async def _carry_out(context: Context, interview: InterviewRow, wish: Effect) -> None:
    """Carry a wish out; a failure leaves it a wish."""
    match wish:
        case DeleteRoom():
            await _delete_room(context, interview)
        case DispatchAgent():
            await _dispatch(context, interview)
        case AnnounceTimeLeft(left=left):
            await _tell(context, interview, left)


async def _delete_room(context: Context, interview: InterviewRow) -> None:
    gone_at = datetime.now(UTC)  # before the asking: who joins while LiveKit answers is in a new room
    existed = await context.livekit.delete_room(interview.room_name)
    async with raw_connection(context.sessions) as connection:
        came_back = await effects.room_deleted(connection, interview, gone_at=gone_at, existed=existed)
    if came_back is not None:
        metrics.ROOMS_DELETED.labels(why="came_back" if came_back else "ended").inc(existed)


async def _dispatch(context: Context, interview: InterviewRow) -> None:
    number = interview.dispatches + 1  # the same until it is recorded: after a crash LiveKit has its mark already
    mark = f"interview.dispatch={number}"
    dispatched_at = datetime.now(UTC)
    await context.livekit.dispatch_agent(interview.room_name, agent_name=context.agent_name, mark=mark)
    async with raw_connection(context.sessions) as connection:
        await effects.agent_dispatched(connection, interview, number=number, at=dispatched_at)
    metrics.AGENTS_DISPATCHED.inc()


async def _tell(context: Context, interview: InterviewRow, left: timedelta) -> None:
    """Tell the room how much time is left: by now, which may be less than was to be told."""
    async with raw_connection(context.sessions) as connection:
        current = await read_row(connection, interview.id)
    if current is None or current.started_at is None or current.attempt != interview.attempt:
        return
    end = current.started_at + timedelta(seconds=current.max_duration)
    seconds = max(round((end - datetime.now(UTC)).total_seconds()), 0)
    sent = await context.livekit.send_data(
        interview.room_name, topic="interview.time", payload={"secondsLeft": seconds}
    )
    less = min(left, timedelta(seconds=seconds))
    async with raw_connection(context.sessions) as connection:
        await effects.time_told(connection, interview, left=less, seconds=seconds, sent=sent)


async def _release(context: Context, interview_id: uuid.UUID) -> None:
    """Settle once more, on what was done, and give the lease back."""
    async with raw_connection(context.sessions, transaction=True) as connection:
        interview = _there(await lock_row(connection, interview_id), interview_id)
        now = datetime.now(UTC)
        derived = (await update_statuses(connection, [interview], now=now, timeouts=context.timeouts))[interview.id]
        is_due = derived.next_deadline_at is not None and derived.next_deadline_at <= now
        await effects.released(connection, interview_id, until=now + STILL_DUE if is_due else None)


async def _postpone(context: Context, interview_id: uuid.UUID, why: str, *, now: datetime) -> None:
    """Settle on what is stored, and try again later."""
    async with raw_connection(context.sessions, transaction=True) as connection:
        interview = _there(await lock_row(connection, interview_id), interview_id)
        await update_statuses(connection, [interview], now=now, timeouts=context.timeouts)
        await effects.postpone(connection, interview_id, why, now=now)
    metrics.POSTPONED.inc()


async def _postpone_without_update(context: Context, interview_id: uuid.UUID, why: str, *, now: datetime) -> None:
    """Put off an interview that may be the very one that can't be settled."""
    async with raw_connection(context.sessions) as connection:
        await effects.postpone(connection, interview_id, why, now=now)


def _there(interview: InterviewRow | None, interview_id: uuid.UUID) -> InterviewRow:
    if interview is None:
        raise LookupError(f"interview {interview_id} is gone")
    return interview

"""The loops of a worker: process what is due and run what is periodic, until the stop."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import text

from app.auth.idempotency_keys import MOST_FORGOTTEN, delete_expired_answers
from app.core import metrics
from app.core.database import is_per_item, raw_connection, transaction
from app.core.errors import DatabaseUnavailable
from app.interviews.counts import compact_counts
from app.interviews.erasure import Overdue, erase_overdue, find_overdue
from app.interviews.interview_rows import lock_row
from app.interviews.refused_joins import prune_refused_joins
from app.interviews.status_update import update_statuses
from app.livekit.client import LiveKitKeysRefused, LiveKitUnavailable, LiveKitUnreachable
from app.worker import WorkerContext, logged_errors
from app.worker.audit import audit
from app.worker.deadlines import claim, process_due_interview
from app.worker.reconcile import reconcile
from app.worker.webhook_delivery import deliver_all_due, prune_deliveries

log = logging.getLogger(__name__)

START_LIVEKIT = ". Start LiveKit, or correct LIVEKIT_URL: 'interviews doctor' checks it, and its keys"
POLL = 0.5  # seconds
CONCURRENCY = 8  # interviews that one process works on
MISSING_DEADLINES_BATCH = 1000  # interviews
ERASURE_BATCH = 200  # interviews, a minute: a stop waits for them
AUDIT_BATCH = 50  # interviews: a stop waits for them, and so does a join that comes while they are compared
AUDIT_REST_FACTOR = 19  # rests so many times as long as a batch took: the audit gets a twentieth of a core at most

TAKE_TICK = text("""
    UPDATE ticks SET last_run = :now
    WHERE name = (SELECT name FROM ticks WHERE name = :name AND last_run <= :before FOR UPDATE SKIP LOCKED)
    RETURNING name
    """)
# As if the task had never run: the next process that polls takes it.
GIVE_BACK_TICK = text("UPDATE ticks SET last_run = DEFAULT WHERE name = :name")
# Issuing a token does not update the status, so an interview without closesAt gets its deadline only here.
WITHOUT_DEADLINE = text("""
    SELECT i.id FROM interviews i
    WHERE i.status = 'READY_TO_JOIN' AND i.next_deadline_at IS NULL
        AND EXISTS (
            SELECT FROM join_requests j
            WHERE j.interview_id = i.id AND j.attempt = i.attempt AND j.answer = 'TOKEN_ISSUED'
        )
    LIMIT :limit
    """)


@dataclass(frozen=True, slots=True)
class Periodic:
    """A task that one of all processes runs once in a period."""

    name: str
    period: timedelta
    run: Callable[[WorkerContext], Awaitable[None]]


async def run_scheduler(context: WorkerContext, stop: asyncio.Event) -> None:
    """Run until `stop` is set, and finish the work in progress."""
    periodic = (
        Periodic("reconcile", context.reconcile_every, reconcile),
        Periodic("sweep", timedelta(minutes=10), schedule_missing_deadlines),
        Periodic("forget", timedelta(hours=1), expire_idempotency_keys),
        Periodic("audit", timedelta(days=1), partial(nightly_audit, stop=stop)),
        Periodic("fold_counts", timedelta(seconds=10), compact),
        Periodic("prune_deliveries", timedelta(hours=1), prune_deliveries),
        Periodic("prune_refused_joins", timedelta(hours=1), prune_counts_of_refused_joins),
        Periodic("erase", timedelta(minutes=1), EraseOverdue()),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_process_all_due(context, stop))
        group.create_task(deliver_all_due(context, stop))
        for task in periodic:
            group.create_task(_repeat(context, task, stop))


async def _process_all_due(context: WorkerContext, stop: asyncio.Event) -> None:
    slots = asyncio.Semaphore(CONCURRENCY)
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            await slots.acquire()
            interview_id = await _claim(context)
            if interview_id is None:
                slots.release()
                await _pause(stop, POLL)
                continue
            processing = group.create_task(_process(context, interview_id))
            processing.add_done_callback(lambda _: slots.release())


async def _claim(context: WorkerContext) -> uuid.UUID | None:
    with logged_errors("deadlines are postponed"):
        return await claim(context, now=datetime.now(UTC))
    return None


async def _process(context: WorkerContext, interview_id: uuid.UUID) -> None:
    with logged_errors("interview %s is retried after its lease", interview_id):
        await process_due_interview(context, interview_id)


async def _repeat(context: WorkerContext, task: Periodic, stop: asyncio.Event) -> None:
    is_failing = False
    while not stop.is_set():
        try:
            if await _take_tick(context, task):
                await task.run(context)
                if is_failing:
                    log.info("%s works again", task.name)
                is_failing = False
        except (DatabaseUnavailable, LiveKitUnavailable) as error:
            if not is_failing:  # logged once, not every period of an outage
                _warn(task, error)
            is_failing = True
        except Exception:  # one failed run must not end the later ones
            log.exception("%s failed", task.name)
            metrics.WORKER_ERRORS.inc()
        await _pause(stop, POLL)


def _warn(task: Periodic, error: DatabaseUnavailable | LiveKitUnavailable) -> None:
    cause = error if isinstance(error, LiveKitUnreachable | LiveKitKeysRefused) else error.__cause__ or error
    todo = START_LIVEKIT if isinstance(error, LiveKitUnavailable) else ""
    log.warning("%s failed, it is retried every %s: %s%s", task.name, task.period, cause, todo)


async def _take_tick(context: WorkerContext, task: Periodic) -> bool:
    """Return whether this process has to run the task now."""
    now = datetime.now(UTC)
    async with transaction(context.sessions) as session:
        taken = await session.scalar(TAKE_TICK, {"name": task.name, "now": now, "before": now - task.period})
    return taken is not None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def schedule_missing_deadlines(context: WorkerContext) -> None:
    """Give a deadline to every interview that has none although a token was issued."""
    async with transaction(context.sessions) as session:
        interview_ids = (await session.scalars(WITHOUT_DEADLINE, {"limit": MISSING_DEADLINES_BATCH})).all()
    for interview_id in interview_ids:
        with _skipping_faulty_row("the status of interview %s could not be updated", interview_id):
            async with raw_connection(context.sessions, transaction=True) as connection:
                if interview := await lock_row(connection, interview_id):
                    await update_statuses(connection, [interview], now=datetime.now(UTC), timeouts=context.timeouts)


@contextmanager
def _skipping_faulty_row(message: str, interview_id: uuid.UUID) -> Iterator[None]:
    """Log an error of this one row, so that the rows behind it get their turn. An outage is raised."""
    try:
        yield
    except Exception as error:
        if not is_per_item(error):
            raise
        log.exception(message, interview_id)
        metrics.WORKER_ERRORS.inc()


async def expire_idempotency_keys(context: WorkerContext) -> None:
    """Delete the answers to calls whose Idempotency-Key has expired."""
    deleted = MOST_FORGOTTEN
    while deleted == MOST_FORGOTTEN:
        async with transaction(context.sessions) as session:
            deleted = await delete_expired_answers(session, now=datetime.now(UTC))


async def prune_counts_of_refused_joins(context: WorkerContext) -> None:
    """Delete the counts of refused joins that are too old to be of use."""
    is_more = True
    while is_more:
        async with transaction(context.sessions) as session:
            is_more = await prune_refused_joins(session, now=datetime.now(UTC))


async def compact(context: WorkerContext) -> None:
    """Compact the changes of the counts that summaries are read from."""
    async with transaction(context.sessions) as session:
        await compact_counts(session)


class EraseOverdue:
    """Erases personal data whose retention is over: a batch a run, each interview in its own transaction.

    A run continues where this process's last one ended, so that rows that can't be erased do not block the others.
    """

    def __init__(self) -> None:
        self._after: Overdue | None = None

    async def __call__(self, context: WorkerContext) -> None:
        if context.retention is None:
            return
        before = datetime.now(UTC) - context.retention
        async with transaction(context.sessions) as session:
            batch = await find_overdue(session, before=before, limit=ERASURE_BATCH, after=self._after)
        for overdue in batch:
            with _skipping_faulty_row("the personal data of interview %s could not be erased", overdue.id):
                async with transaction(context.sessions) as session:
                    await erase_overdue(session, interview_id=overdue.id, before=before, now=datetime.now(UTC))
        self._after = batch[-1] if len(batch) == ERASURE_BATCH else None


async def nightly_audit(context: WorkerContext, *, stop: asyncio.Event) -> None:
    """Log and count the differences. People look into them: nothing is repaired automatically.

    It rests after each batch, because candidates join in the same process. A stop ends it, and another process starts
    from the beginning.
    """
    clock = asyncio.get_running_loop().time
    compared, began = 0, clock()
    async with aclosing(audit(context.sessions, timeouts=context.timeouts, size=AUDIT_BATCH)) as batches:
        async for batch in batches:
            for difference in batch.differences:
                log.error("audit: %s", difference)
                metrics.AUDIT_DIFFERENCES.inc()
            compared += batch.compared
            await _pause(stop, AUDIT_REST_FACTOR * (clock() - began))
            if stop.is_set():
                async with transaction(context.sessions) as session:
                    await session.execute(GIVE_BACK_TICK, {"name": "audit"})
                log.info("audit: stopped after %d interviews, the next process starts from the beginning", compared)
                return
            began = clock()

"""The loops of a worker: take what is due, run what is periodic, until told to stop."""

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
from app.interviews.status_update import update_statuses
from app.livekit.client import LiveKitUnavailable
from app.worker.audit import audit
from app.worker.context import Context
from app.worker.deadlines import claim, process_due_interview
from app.worker.reconcile import reconcile
from app.worker.webhook_delivery import deliver_all_due, prune_deliveries

log = logging.getLogger(__name__)

POLL = 0.5  # seconds
AT_ONCE = 8  # interviews that one process attends to
MISSING_DEADLINES_EVERY = 1000  # interviews
ERASED_AT_ONCE = 200  # interviews, a minute: a stop waits for them
AUDITED_AT_ONCE = 50  # interviews: a stop waits for them, and so does a join that comes while they are compared
AUDIT_RESTS = 19  # times as long as a batch took: a process that serves gives it a twentieth of its core at most

TAKE_TICK = text(
    """
    UPDATE ticks SET last_run = :now
    WHERE name = (
        SELECT name FROM ticks WHERE name = :name AND last_run <= :before FOR UPDATE SKIP LOCKED
    )
    RETURNING name
    """
)
# As if it had never run: who looks next takes it.
GIVE_BACK_TICK = text("UPDATE ticks SET last_run = DEFAULT WHERE name = :name")
# A token that is issued moves nothing, so an interview without closesAt gets its deadline only here.
WITHOUT_DEADLINE = text(
    """
    SELECT i.id FROM interviews i
    WHERE i.status = 'READY_TO_JOIN' AND i.next_deadline_at IS NULL
        AND EXISTS (
            SELECT FROM join_requests j
            WHERE j.interview_id = i.id AND j.attempt = i.attempt AND j.answer = 'TOKEN_ISSUED'
        )
    LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Periodic:
    """A task that one of all processes runs once in a period."""

    name: str
    period: timedelta
    run: Callable[[Context], Awaitable[None]]


async def run_scheduler(context: Context, stop: asyncio.Event) -> None:
    """Work until `stop` is set; what is under way then is finished first."""
    periodic = (
        Periodic("reconcile", context.reconcile_every, reconcile),
        Periodic("sweep", timedelta(minutes=10), schedule_missing_deadlines),
        Periodic("forget", timedelta(hours=1), expire_idempotency_keys),
        Periodic("audit", timedelta(days=1), partial(nightly_audit, stop=stop)),
        Periodic("fold_counts", timedelta(seconds=10), compact),
        Periodic("prune_deliveries", timedelta(hours=1), prune_deliveries),
        Periodic("erase", timedelta(minutes=1), EraseOverdue()),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_attend_all_due(context, stop))
        group.create_task(deliver_all_due(context, stop))
        for task in periodic:
            group.create_task(_repeat(context, task, stop))


async def _attend_all_due(context: Context, stop: asyncio.Event) -> None:
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            await slots.acquire()
            interview_id = await _claim(context)
            if interview_id is None:
                slots.release()
                await _pause(stop, POLL)
                continue
            attending = group.create_task(_process(context, interview_id))
            attending.add_done_callback(lambda _: slots.release())


async def _claim(context: Context) -> uuid.UUID | None:
    try:
        return await claim(context, now=datetime.now(UTC))
    except DatabaseUnavailable as error:
        log.warning("nothing can be attended to: %r", error.__cause__)
    except Exception:  # an error that got out of here would end all loops
        log.exception("nothing can be attended to")
        metrics.WORKER_ERRORS.inc()
    return None


async def _process(context: Context, interview_id: uuid.UUID) -> None:
    try:
        await process_due_interview(context, interview_id)
    except DatabaseUnavailable as error:
        log.warning("interview %s is attended to again after its lease: %r", interview_id, error.__cause__)
    except Exception:  # an error that got out of here would end all loops
        log.exception("interview %s is attended to again after its lease", interview_id)
        metrics.WORKER_ERRORS.inc()


async def _repeat(context: Context, task: Periodic, stop: asyncio.Event) -> None:
    failing = False
    while not stop.is_set():
        try:
            if await _take_tick(context, task):
                await task.run(context)
                if failing:
                    log.info("%s works again", task.name)
                failing = False
        except (DatabaseUnavailable, LiveKitUnavailable) as error:
            if not failing:  # said once, not every period of an outage
                log.warning(
                    "%s can't be done, it is tried every %s: %s", task.name, task.period, error.__cause__ or error
                )
            failing = True
        except Exception:  # a period that failed must not end those to come
            log.exception("%s failed", task.name)
            metrics.WORKER_ERRORS.inc()
        await _pause(stop, POLL)


async def _take_tick(context: Context, task: Periodic) -> bool:
    """Tell whether it is this process that has to run the task now."""
    now = datetime.now(UTC)
    async with transaction(context.sessions) as session:
        taken = await session.scalar(TAKE_TICK, {"name": task.name, "now": now, "before": now - task.period})
    return taken is not None


async def _give_back_tick(context: Context, name: str) -> None:
    """Let whichever process looks next run the task anew."""
    async with transaction(context.sessions) as session:
        await session.execute(GIVE_BACK_TICK, {"name": name})


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def schedule_missing_deadlines(context: Context) -> None:
    """Give a deadline to every interview that has none although a token was issued."""
    async with transaction(context.sessions) as session:
        found = (await session.scalars(WITHOUT_DEADLINE, {"limit": MISSING_DEADLINES_EVERY})).all()
    for interview_id in found:
        await _settle(context, interview_id)


async def _settle(context: Context, interview_id: uuid.UUID) -> None:
    with _holding_up_nobody("interview %s could not be settled", interview_id):
        async with raw_connection(context.sessions, transaction=True) as connection:
            interview = await lock_row(connection, interview_id)
            if interview:
                await update_statuses(connection, [interview], now=datetime.now(UTC), timeouts=context.timeouts)


@contextmanager
def _holding_up_nobody(words: str, interview_id: uuid.UUID) -> Iterator[None]:
    """Log what is wrong with this row: those behind it have their turn too. An outage is raised."""
    try:
        yield
    except Exception as error:
        if not is_per_item(error):
            raise
        log.exception(words, interview_id)
        metrics.WORKER_ERRORS.inc()


async def expire_idempotency_keys(context: Context) -> None:
    """Forget the answers to calls whose Idempotency-Key has expired."""
    forgotten = MOST_FORGOTTEN
    while forgotten == MOST_FORGOTTEN:
        async with transaction(context.sessions) as session:
            forgotten = await delete_expired_answers(session, now=datetime.now(UTC))


async def compact(context: Context) -> None:
    """Fold the changes of the counts that summaries are read from."""
    async with transaction(context.sessions) as session:
        await compact_counts(session)


class EraseOverdue:
    """Erases personal data that was kept for long enough: a batch a run, each interview in a transaction of its own.

    A run goes on where this process's last one ended, until all were tried: those that can't be erased hold up nobody.
    """

    def __init__(self) -> None:
        self._after: Overdue | None = None

    async def __call__(self, context: Context) -> None:
        if context.retention is None:
            return
        before = datetime.now(UTC) - context.retention
        async with transaction(context.sessions) as session:
            found = await find_overdue(session, before=before, limit=ERASED_AT_ONCE, after=self._after)
        for each in found:
            await _erase(context, each.id, before)
        self._after = found[-1] if len(found) == ERASED_AT_ONCE else None


async def _erase(context: Context, interview_id: uuid.UUID, before: datetime) -> None:
    with _holding_up_nobody("the personal data of interview %s could not be erased", interview_id):
        async with transaction(context.sessions) as session:
            await erase_overdue(session, interview_id=interview_id, before=before, now=datetime.now(UTC))


async def nightly_audit(context: Context, *, stop: asyncio.Event) -> None:
    """Log and count what is not as derived. It is for people to look at: nothing is repaired by itself.

    It rests after each batch, because candidates join in the same process. A stop ends it, and another starts anew.
    """
    clock = asyncio.get_running_loop().time
    compared, began = 0, clock()
    async with aclosing(audit(context.sessions, timeouts=context.timeouts, size=AUDITED_AT_ONCE)) as batches:
        async for batch in batches:
            for difference in batch.differences:
                log.error("audit: %s", difference)
                metrics.AUDIT_DIFFERENCES.inc()
            compared += batch.compared
            await _pause(stop, AUDIT_RESTS * (clock() - began))
            if stop.is_set():
                await _give_back_tick(context, "audit")
                log.info("audit: stopped after %d interviews, the next process starts it anew", compared)
                return
            began = clock()

"""Derives every interview's status again from its stored facts, and compares it with what is stored.

What is counted is compared too: recruiters see the counts that are kept, and not the rows.
"""

import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.database import driver_connection, transaction
from app.interviews.counts import Miscount, miscounts
from app.interviews.stored_facts import load_facts
from app.lifecycle import Facts, Timeouts, derive
from app.models import Interview, Organization, TimelineEntry

BATCH = 500  # interviews


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not what it should be, and by which account it should be otherwise: the facts or the timeline."""

    interview_id: uuid.UUID
    field: str
    stored: object
    expected: object
    account: str

    def __str__(self) -> str:
        return f"{self.interview_id} {self.field}: {self.stored}, by its {self.account} {self.expected}"


@dataclass(frozen=True, slots=True)
class Audited:
    """A batch: how many interviews were compared, and what was found."""

    compared: int
    differences: Sequence[Difference | Miscount]


async def audit(
    sessions: async_sessionmaker[AsyncSession], *, timeouts: Timeouts, since: datetime | None = None, size: int = BATCH
) -> AsyncGenerator[Audited]:
    """Compare all interviews, or those changed since: yield batches of up to `size`, each read in one snapshot.

    With all of them the counts are compared, an organization at a time.
    """
    last = uuid.UUID(int=0)
    while True:
        async with transaction(sessions) as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            batch = await _batch(session, last, since, size)
            facts = await load_facts(await driver_connection(session), batch)
            told = await _last_changes(session, batch)
        if not batch:
            break
        found = [_compare(each, facts[each.id], told.get(each.id), timeouts) for each in batch]
        yield Audited(len(batch), list(chain.from_iterable(found)))
        last = batch[-1].id
    if since is None:
        async with transaction(sessions) as session:
            organizations = (await session.scalars(select(Organization.id).order_by(Organization.id))).all()
        for each in organizations:
            async with transaction(sessions) as session:
                differences = await miscounts(session, each)
            yield Audited(0, differences)


async def count_audited(session: AsyncSession, *, since: datetime | None) -> int:
    """Return how many interviews an audit compares, by now."""
    query = select(func.count()).select_from(Interview)
    return (await session.scalars(query.where(Interview.updated_at >= since) if since else query)).one()


async def _batch(session: AsyncSession, after: uuid.UUID, since: datetime | None, size: int) -> Sequence[Interview]:
    query = select(Interview).where(Interview.id > after).order_by(Interview.id).limit(size)
    if since:
        query = query.where(Interview.updated_at >= since)
    return (await session.scalars(query)).all()


async def _last_changes(session: AsyncSession, batch: Sequence[Interview]) -> dict[uuid.UUID, TimelineEntry]:
    """Return the last change of status that each interview's timeline tells of."""
    rows = await session.scalars(
        select(TimelineEntry)
        .ext(distinct_on(TimelineEntry.interview_id))
        .where(TimelineEntry.interview_id.in_([each.id for each in batch]), TimelineEntry.kind == "status")
        .order_by(TimelineEntry.interview_id, TimelineEntry.id.desc())
    )
    return {row.interview_id: row for row in rows}


def _compare(interview: Interview, facts: Facts, told: TimelineEntry | None, timeouts: Timeouts) -> list[Difference]:
    derived = derive(facts, interview.settled_at, timeouts)
    by_facts = {
        "status": derived.status,
        "end_reason": derived.end_reason,
        "started_at": derived.started_at,
        "ended_at": derived.ended_at,
        "talk_time": derived.talk_time,
    }
    found: list[tuple[str, str, object]] = [("facts", field, expected) for field, expected in by_facts.items()]
    if told is None:
        found.append(("timeline", "status", "READY_TO_JOIN"))
    else:
        found += [("timeline", "status", told.detail["to"]), ("timeline", "end_reason", told.detail["endReason"])]
        ended_at = told.detail["endedAt"]
        found.append(("timeline", "ended_at", datetime.fromisoformat(ended_at) if ended_at else None))
        if "startedAt" in told.detail:
            started_at = told.detail["startedAt"]
            found.append(("timeline", "started_at", datetime.fromisoformat(started_at) if started_at else None))
            found.append(("timeline", "talk_time", timedelta(seconds=told.detail["talkTime"])))
    return [
        Difference(interview.id, field, getattr(interview, field), expected, account)
        for account, field, expected in found
        if getattr(interview, field) != expected
    ]

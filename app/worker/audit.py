"""Derives every interview's status from its stored facts, and compares it with the stored status.

The kept counts are compared too, because recruiters see them, and not the rows.
"""

import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.core.database import driver_connection, transaction
from app.interviews.counts import Miscount, find_miscounts
from app.interviews.stored_facts import load_facts
from app.lifecycle import Facts, Timeouts, derive
from app.models import Interview, Organization, TimelineEntry

BATCH = 500  # interviews


@dataclass(frozen=True, slots=True)
class Difference:
    """A field with another value than its source, the facts or the timeline, expects."""

    interview_id: uuid.UUID
    field: str
    stored: object
    expected: object
    source: str

    def __str__(self) -> str:
        return f"{self.interview_id} {self.field}: {self.stored}, by its {self.source} {self.expected}"


@dataclass(frozen=True, slots=True)
class AuditedBatch:
    """How many interviews were compared, and the differences found."""

    compared: int
    differences: Sequence[Difference | Miscount]


async def audit(
    sessions: async_sessionmaker[AsyncSession], *, timeouts: Timeouts, since: datetime | None = None, size: int = BATCH
) -> AsyncGenerator[AuditedBatch]:
    """Compare all interviews, or those changed since: yield batches of up to `size`, each read in one snapshot.

    An audit of all interviews compares the counts as well, an organization at a time.
    """
    last = uuid.UUID(int=0)
    while True:
        async with transaction(sessions) as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            query = select(Interview).where(Interview.id > last).order_by(Interview.id).limit(size)
            batch = (await session.scalars(query.where(Interview.updated_at >= since) if since else query)).all()
            facts = await load_facts(await driver_connection(session), batch)
            entries = await _last_changes(session, batch)
        if not batch:
            break
        differences = [_compare(each, facts[each.id], entries.get(each.id), timeouts) for each in batch]
        yield AuditedBatch(len(batch), list(chain.from_iterable(differences)))
        last = batch[-1].id
    if since is None:
        async with transaction(sessions) as session:
            organization_ids = (await session.scalars(select(Organization.id).order_by(Organization.id))).all()
        for organization_id in organization_ids:
            async with transaction(sessions) as session:
                wrong_counts = await find_miscounts(session, organization_id)
            yield AuditedBatch(0, wrong_counts)


async def count_audited(session: AsyncSession, *, since: datetime | None) -> int:
    """Return how many interviews an audit would compare now."""
    query = select(func.count()).select_from(Interview)
    return (await session.scalars(query.where(Interview.updated_at >= since) if since else query)).one()


async def _last_changes(session: AsyncSession, batch: Sequence[Interview]) -> dict[uuid.UUID, TimelineEntry]:
    """Return the last change of status on each interview's timeline."""
    rows = await session.scalars(
        select(TimelineEntry)
        .ext(distinct_on(TimelineEntry.interview_id))
        .where(TimelineEntry.interview_id.in_([each.id for each in batch]), TimelineEntry.kind == "status")
        .order_by(TimelineEntry.interview_id, TimelineEntry.id.desc())
    )
    return {row.interview_id: row for row in rows}


def _compare(interview: Interview, facts: Facts, entry: TimelineEntry | None, timeouts: Timeouts) -> list[Difference]:
    derived = derive(facts, interview.settled_at, timeouts)
    fields = ("status", "end_reason", "started_at", "ended_at", "talk_time")
    expectations = {
        "facts": {field: getattr(derived, field) for field in fields},
        "timeline": _expected_by(entry.detail) if entry else {"status": "READY_TO_JOIN"},
    }
    return [
        Difference(interview.id, field, getattr(interview, field), value, source)
        for source, expected in expectations.items()
        for field, value in expected.items()
        if getattr(interview, field) != value
    ]


def _expected_by(detail: dict[str, Any]) -> dict[str, object]:
    """Return the fields as the detail of a timeline entry has them."""
    expected = {"status": detail["to"], "end_reason": detail["endReason"], "ended_at": _instant(detail["endedAt"])}
    if "startedAt" in detail:
        expected["started_at"] = _instant(detail["startedAt"])
        expected["talk_time"] = timedelta(seconds=detail["talkTime"])
    return expected


def _instant(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None

"""Finding: pages of interviews by filters, a search and an order, each served by an index."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, asc, desc, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import CursorInvalid
from app.interviews.cursor import decode_row, encode_cursor
from app.interviews.read import View, views_of
from app.interviews.shown import ShownStatus
from app.lifecycle import Status
from app.models import Interview
from app.search_text import Spelling, parse_search

# How common a word or a status is decides which index is the right one: a plan for any of them would often be wrong.
PLAN_EACH = text("SET LOCAL plan_cache_mode = force_custom_plan")
SHORT = 3  # letters: fewer have no trigram, but for those that begin a word


class Sort(StrEnum):
    """The orders of a list. By createdAt a walk is right whatever changes; by updatedAt see find_interviews."""

    OLDEST = "createdAt"
    NEWEST = "-createdAt"
    UPDATED_FIRST = "updatedAt"
    UPDATED_LAST = "-updatedAt"

    @property
    def is_descending(self) -> bool:
        return self.startswith("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is looked for; all of it has to fit, and of several statuses any."""

    statuses: frozenset[ShownStatus] = frozenset()
    job_post_id: str | None = None
    application_id: str | None = None
    candidate_id: str | None = None
    updated_since: datetime | None = None
    opens_before: datetime | None = None
    """Opens earlier than this; an interview without opensAt is not meant."""
    opens_after: datetime | None = None
    """Opens then or later."""
    q: str = ""
    """Words of name, job title or phone number."""


@dataclass(frozen=True, slots=True)
class Page:
    views: Sequence[View]
    next_cursor: str | None


async def find_interviews(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    filters: Filters,
    sort: Sort,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page:
    """Return a page of the organization's interviews. Raises CursorInvalid, also for another list's cursor.

    A walk by updatedAt, ascending, gives each interview that was there all along, and one that changes meanwhile again
    later on. Descending it may miss what changes: that moves to the front, which the walk has passed.
    """
    mark = _mark(filters, sort)
    query = select(Interview).where(Interview.organization_id == organization_id, *conditions(filters, now=now))
    if filters != Filters():
        await session.execute(PLAN_EACH)
    column, order = _column(sort), desc if sort.is_descending else asc
    place = tuple_(column, Interview.id)
    if cursor:
        last = tuple_(*_parse_cursor(cursor, mark))
        query = query.where(place < last if sort.is_descending else place > last)
    found = (await session.scalars(query.order_by(order(column), order(Interview.id)).limit(limit + 1))).all()
    shown = found[:limit]
    end = shown[-1] if len(found) > limit else None
    next_cursor = encode_cursor(getattr(end, column.key), end.id.hex, mark) if end else None
    return Page(await views_of(session, interviews=shown, now=now), next_cursor)


def conditions(filters: Filters, *, now: datetime) -> list[ColumnElement[bool]]:
    """Return what rows have to fulfil."""
    equal = {
        Interview.job_post_id: filters.job_post_id,
        Interview.application_id: filters.application_id,
        Interview.candidate_id: filters.candidate_id,
    }
    found: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if filters.statuses:
        found.append(or_(*(has_status(status, now=now) for status in sorted(filters.statuses))))
    if filters.updated_since:
        found.append(Interview.updated_at >= filters.updated_since)
    if filters.opens_before:
        found.append(Interview.opens_at < filters.opens_before)
    if filters.opens_after:
        found.append(Interview.opens_at >= filters.opens_after)
    return found + [or_(*map(_contains, spellings)) for spellings in parse_search(filters.q)]


def has_status(status: ShownStatus, *, now: datetime) -> ColumnElement[bool]:
    """Return the condition for a status as it is shown."""
    not_open_yet = and_(Interview.opens_at.is_not(None), Interview.opens_at > now)
    if status is ShownStatus.SCHEDULED:
        return and_(Interview.status == Status.READY_TO_JOIN, not_open_yet)
    if status is ShownStatus.READY_TO_JOIN:
        return and_(Interview.status == Status.READY_TO_JOIN, ~not_open_yet)
    return Interview.status == Status(status)


def _column(sort: Sort) -> InstrumentedAttribute[datetime]:
    return Interview.created_at if sort in (Sort.OLDEST, Sort.NEWEST) else Interview.updated_at


def _contains(spelling: Spelling) -> ColumnElement[bool]:
    return and_(*map(_has, spelling))


def _has(word: str) -> ColumnElement[bool]:
    """Return the condition for a word that is part of another; one or two letters have to begin it.

    Digits do not: any two are in so many phone numbers that a page of them is found at once.
    """
    if len(word) >= SHORT or word.isdecimal():
        return Interview.search_text.contains(word, autoescape=True)
    inside = (Interview.search_text.contains(before + word, autoescape=True) for before in (" ", "\n"))
    return or_(Interview.search_text.startswith(word, autoescape=True), *inside)


def _mark(filters: Filters, sort: Sort) -> str:
    """Return what a cursor carries of its list: the same for the same filters and order, however they are written."""
    statuses, *others, q = astuple(filters)
    given = [each.timestamp() if isinstance(each, datetime) else each for each in others]
    return hashlib.sha256(repr((sort, sorted(statuses), given, parse_search(q))).encode()).hexdigest()[:16]


def _parse_cursor(cursor: str, mark: str) -> tuple[datetime, uuid.UUID]:
    at, key, (marked,) = decode_row(cursor, parts=1)
    if marked != mark:
        raise CursorInvalid(
            "The cursor belongs to another sort or to other filters. Send it with those of the page that it came with, "
            "or leave it out to begin anew."
        )
    return at, key

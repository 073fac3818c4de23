"""Finding: pages of interviews by filters, a search and an order, each served by an index."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, and_, asc, desc, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.errors import CursorInvalid
from app.interviews.cursor import decode_row, encode_cursor
from app.interviews.read import View, views_of
from app.interviews.shown import ShownStatus
from app.lifecycle import Status
from app.models import Interview
from app.search_text import Spelling, parse_search

# How common a word or a status is decides which index is the right one: a plan for any of them would often be wrong.
PLAN_EACH = text("SET LOCAL plan_cache_mode = force_custom_plan")
NEAR, FAR = 2_000, 20_000  # interviews of a list that are passed in search of a page
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
    listed = _Listed(organization_id, filters, sort, _parse_cursor(cursor, mark) if cursor else None, now)
    if filters != Filters():
        await session.execute(PLAN_EACH)
    is_hard_to_tell = filters.q or ShownStatus.SCHEDULED in filters.statuses
    found = await (_search if is_hard_to_tell else _first)(session, listed, limit + 1)
    shown = found[:limit]
    end = shown[-1] if len(found) > limit else None
    next_cursor = encode_cursor(getattr(end, listed.column().key), end.id.hex, mark) if end else None
    return Page(await views_of(session, interviews=shown, now=now), next_cursor)


async def _first(session: AsyncSession, listed: "_Listed", count: int) -> Sequence[Interview]:
    """Return the first interviews that fit."""
    return (await session.scalars(listed.ordered(listed.fitting()).limit(count))).all()


async def _search(session: AsyncSession, listed: "_Listed", count: int) -> Sequence[Interview]:
    """Return the same: by a walk through the list where many fit, by another index where few do.

    How many do is seen on the way. Postgres' estimates were wrong by a hundred times, and so its plans: of words that
    come together, of digits that its sample happens to have, of what is READY_TO_JOIN and opens later.
    """
    found = await _walk(session, listed, count, NEAR)
    if len(found) < count and len(found) * FAR >= count * NEAR:  # as many further on would do
        found = await _walk(session, listed, count, FAR)
    if len(found) == count:
        return found
    # OFFSET 0: planned for all of them, not for the first of the order
    every = aliased(Interview, listed.fitting().offset(0).subquery())
    return (await session.scalars(listed.ordered(select(every), of=every).limit(count))).all()


async def _walk(session: AsyncSession, listed: "_Listed", count: int, far: int) -> Sequence[Interview]:
    """Return the first interviews that fit, of the next `far` in the list."""
    passed = aliased(Interview, listed.ordered(listed.behind_cursor()).limit(far).subquery())
    fitting = select(passed).where(*conditions(listed.filters, now=listed.now, of=passed))
    return (await session.scalars(listed.ordered(fitting, of=passed).limit(count))).all()


@dataclass(frozen=True, slots=True)
class _Listed:
    """A list, and the place in it behind which a page begins."""

    organization_id: uuid.UUID
    filters: Filters
    sort: Sort
    last: tuple[datetime, uuid.UUID] | None
    now: datetime

    def column(self) -> InstrumentedAttribute[datetime]:
        return Interview.created_at if self.sort in (Sort.OLDEST, Sort.NEWEST) else Interview.updated_at

    def behind_cursor(self) -> Select[Interview]:
        """Return all of the organization's interviews behind the place."""
        query = select(Interview).where(Interview.organization_id == self.organization_id)
        if self.last:
            place, last = tuple_(self.column(), Interview.id), tuple_(*self.last)
            query = query.where(place < last if self.sort.is_descending else place > last)
        return query

    def fitting(self) -> Select[Interview]:
        """Return those behind the place that fit."""
        return self.behind_cursor().where(*conditions(self.filters, now=self.now))

    def ordered(self, query: Select[Interview], *, of: type[Interview] = Interview) -> Select[Interview]:
        order = desc if self.sort.is_descending else asc
        return query.order_by(order(getattr(of, self.column().key)), order(of.id))


def conditions(filters: Filters, *, now: datetime, of: type[Interview] = Interview) -> list[ColumnElement[bool]]:
    """Return what rows have to fulfil: those of the table, or of an alias."""
    equal = {
        of.job_post_id: filters.job_post_id,
        of.application_id: filters.application_id,
        of.candidate_id: filters.candidate_id,
    }
    found: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if filters.statuses:
        found.append(or_(*(has_status(status, now=now, of=of) for status in sorted(filters.statuses))))
    if filters.updated_since:
        found.append(of.updated_at >= filters.updated_since)
    if filters.opens_before:
        found.append(of.opens_at < filters.opens_before)
    if filters.opens_after:
        found.append(of.opens_at >= filters.opens_after)
    return found + [or_(*(_contains(each, of) for each in spellings)) for spellings in parse_search(filters.q)]


def has_status(status: ShownStatus, *, now: datetime, of: type[Interview] = Interview) -> ColumnElement[bool]:
    """Return the condition for a status as it is shown."""
    not_open_yet = and_(of.opens_at.is_not(None), of.opens_at > now)
    if status is ShownStatus.SCHEDULED:
        return and_(of.status == Status.READY_TO_JOIN, not_open_yet)
    if status is ShownStatus.READY_TO_JOIN:
        return and_(of.status == Status.READY_TO_JOIN, ~not_open_yet)
    return of.status == Status(status)


def _contains(spelling: Spelling, of: type[Interview]) -> ColumnElement[bool]:
    return and_(*(_has(word, of) for word in spelling))


def _has(word: str, of: type[Interview]) -> ColumnElement[bool]:
    """Return the condition for a word that is part of another; one or two letters have to begin it.

    Digits do not: any two are in so many phone numbers that a page of them is found at once.
    """
    if len(word) >= SHORT or word.isdecimal():
        return of.search_text.contains(word, autoescape=True)
    inside = (of.search_text.contains(before + word, autoescape=True) for before in (" ", "\n"))
    return or_(of.search_text.startswith(word, autoescape=True), *inside)


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

"""Search for interviews: pages by filters, words and an order, each served by an index."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Label, Select, Subquery, and_, asc, desc, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from app.core.errors import CursorInvalid
from app.core.pagination import Page, decode_row, encode_cursor
from app.core.search_text import Spelling, parse_search
from app.interviews.queries import View, views_of
from app.lifecycle import PublicStatus, Status
from app.models import Interview

# Which index is best depends on how common the word or status is: a generic plan would often be wrong.
PLAN_EACH_TIME = text("SET LOCAL plan_cache_mode = force_custom_plan")
SHORT_SCAN, LONG_SCAN = 2_000, 20_000  # rows of a list that are scanned for a page of matches
TRIGRAM = 3  # letters: a shorter word has a trigram only at its beginning
SELECTIVE_DIGITS = 7  # at the end of a number: few interviews share them, while many share a country's prefix
# Instants around all of createdAt. The index returns distances as float8, which is exact to the microsecond only up to
# some 136 years.
BEFORE_ALL, AFTER_ALL = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

Columns = type[Interview] | ReadOnlyColumnCollection[str, Any]


class Sort(StrEnum):
    """The orders of a list. Pages by createdAt are consistent whatever changes; by updatedAt see find_interviews."""

    OLDEST = "createdAt"
    NEWEST = "-createdAt"
    UPDATED_FIRST = "updatedAt"
    UPDATED_LAST = "-updatedAt"

    @property
    def is_descending(self) -> bool:
        return self.startswith("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that all have to match; of several statuses any."""

    statuses: frozenset[PublicStatus] = frozenset()
    job_post_id: str | None = None
    application_id: str | None = None
    candidate_id: str | None = None
    updated_since: datetime | None = None
    opens_before: datetime | None = None
    """Exclusive; an interview without opensAt does not match."""
    opens_after: datetime | None = None
    """Inclusive."""
    q: str = ""
    """Words of name, job title or phone number."""


async def find_interviews(
    session: AsyncSession,
    *,
    organization_id: uuid.UUID,
    filters: Filters,
    sort: Sort,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> Page[View]:
    """Return a page of the organization's interviews. Raises CursorInvalid, also for the cursor of another list.

    Pages by updatedAt ascending have every interview, and again each that changes meanwhile. Descending they may miss
    an interview that changes: it moves to the front, before the cursor.
    """
    fingerprint = _fingerprint(filters, sort)
    list_query = _ListQuery(organization_id, filters, sort, _parse_cursor(cursor, fingerprint) if cursor else None, now)
    if filters != Filters():
        await session.execute(PLAN_EACH_TIME)
    read = _search if list_query.remaining_conditions(Interview) else _first_page
    rows = await read(session, list_query, limit + 1)
    column = list_query.column().key
    page = Page.of(rows, limit, lambda last: encode_cursor(getattr(last, column), last.id.hex, fingerprint))
    return Page(await views_of(session, interviews=page.items, now=now), page.next_cursor)


async def _first_page(session: AsyncSession, list_query: "_ListQuery", count: int) -> Sequence[Interview]:
    """Return the first matches of conditions that Postgres estimates well."""
    rows = list_query.ordered(list_query.candidates(Interview), list_query.sort_key(), Interview.id)
    return (await session.scalars(rows.limit(count))).all()


async def _search(session: AsyncSession, list_query: "_ListQuery", count: int) -> Sequence[Interview]:
    """Return the first matches: by scanning the list if matches are common, by another index if they are rare.

    A short scan measures how common. Postgres' estimates, and so its plans, were wrong by a factor of a hundred: for
    words that occur together, for digits in its sample, for READY_TO_JOIN that opens later.
    """
    matches = await _scan(session, list_query, count, SHORT_SCAN)
    if len(matches) < count and len(matches) * LONG_SCAN >= count * SHORT_SCAN:  # at this rate a long scan fills a page
        matches = await _scan(session, list_query, count, LONG_SCAN)
    if len(matches) == count:
        return matches
    matching = list_query.candidates(Interview.id, list_query.sort_key())
    matching = matching.where(*list_query.remaining_conditions(Interview))
    # OFFSET 0 makes Postgres plan for all matches, not for the first of the order.
    return await _read(session, list_query, matching.offset(0).subquery(), count)


async def _scan(session: AsyncSession, list_query: "_ListQuery", count: int, scanned: int) -> Sequence[Interview]:
    """Return the first matches among the next `scanned` candidates of the list."""
    checked = Interview.search_text, Interview.status, Interview.opens_at
    candidates = list_query.candidates(Interview.id, list_query.sort_key(), *checked)
    first = list_query.ordered(candidates, list_query.sort_key(), Interview.id).limit(scanned).subquery()
    return await _read(session, list_query, first, count, *list_query.remaining_conditions(first.c))


async def _read(
    session: AsyncSession, list_query: "_ListQuery", rows: Subquery, count: int, *conditions: ColumnElement[bool]
) -> Sequence[Interview]:
    """Return the first interviews of a subquery that match. An alias of Interview for it cost 4 ms of CPU."""
    ids = select(rows.c.id, rows.c.sort_key).where(*conditions)
    first = list_query.ordered(ids, rows.c.sort_key, rows.c.id).limit(count).subquery()
    interviews = select(Interview).join(first, first.c.id == Interview.id)
    return (await session.scalars(list_query.ordered(interviews, first.c.sort_key, first.c.id))).all()


@dataclass(frozen=True, slots=True)
class _ListQuery:
    """A list, and the row after which a page begins."""

    organization_id: uuid.UUID
    filters: Filters
    sort: Sort
    last: tuple[datetime, uuid.UUID] | None
    now: datetime

    def column(self) -> InstrumentedAttribute[datetime]:
        return Interview.created_at if self.sort in (Sort.OLDEST, Sort.NEWEST) else Interview.updated_at

    def sort_key(self) -> Label[Any]:
        """Return what the list is ordered by, before ids: the column, or its distance from an end of time.

        The index of createdAt and opensAt orders by distance. Without it, the newest that open before a day months ago
        lie at the far end of a scan.
        """
        end = AFTER_ALL if self.sort.is_descending else BEFORE_ALL
        return (self.column().op("<->")(end) if self._is_by_distance() else self.column()).label("sort_key")

    def candidates(self, *columns: Any) -> Select[Any]:
        """Select the rows after the last one that match the estimable conditions."""
        query = select(*columns).where(Interview.organization_id == self.organization_id, *_estimable(self.filters))
        if self.last is None:
            return query
        row, last = tuple_(self.column(), Interview.id), tuple_(*self.last)
        if self._is_by_distance():  # a GiST index can't compare rows
            column, at = self.column(), self.last[0]
            query = query.where(column <= at if self.sort.is_descending else column >= at)
        return query.where(row < last if self.sort.is_descending else row > last)

    def remaining_conditions(self, of: Columns) -> list[ColumnElement[bool]]:
        """Return the other conditions: words, and whether an interview that is READY_TO_JOIN opens later."""
        words = parse_search(self.filters.q)
        clauses = [or_(*(_has_words(spelling, of) for spelling in spellings)) for spellings in words]
        statuses = sorted(self.filters.statuses)
        if (PublicStatus.SCHEDULED in statuses) != (PublicStatus.READY_TO_JOIN in statuses):
            clauses.append(or_(*(_has_status(status, now=self.now, of=of) for status in statuses)))
        return clauses

    def ordered(
        self, query: Select[Any], sort_key: ColumnElement[Any], key: ColumnElement[Any] | InstrumentedAttribute[Any]
    ) -> Select[Any]:
        order = desc if self.sort.is_descending else asc
        return query.order_by(sort_key if self._is_by_distance() else order(sort_key), order(key))

    def _is_by_distance(self) -> bool:
        has_range = self.filters.opens_before is not None or self.filters.opens_after is not None
        return has_range and self.sort in (Sort.OLDEST, Sort.NEWEST)


def _estimable(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions whose number of matches Postgres estimates well."""
    equal = {
        Interview.job_post_id: filters.job_post_id,
        Interview.application_id: filters.application_id,
        Interview.candidate_id: filters.candidate_id,
    }
    clauses: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if filters.statuses:
        clauses.append(Interview.status.in_(sorted({_stored_status(status) for status in filters.statuses})))
    if filters.updated_since:
        clauses.append(Interview.updated_at >= filters.updated_since)
    if filters.opens_before:
        clauses.append(Interview.opens_at < filters.opens_before)
    if filters.opens_after:
        clauses.append(Interview.opens_at >= filters.opens_after)
    return clauses


def _has_status(status: PublicStatus, *, now: datetime, of: Columns) -> ColumnElement[bool]:
    is_stored: ColumnElement[bool] = of.status == _stored_status(status)
    not_open_yet = and_(of.opens_at.is_not(None), of.opens_at > now)
    if status is PublicStatus.SCHEDULED:
        return and_(is_stored, not_open_yet)
    if status is PublicStatus.READY_TO_JOIN:
        return and_(is_stored, ~not_open_yet)
    return is_stored


def _stored_status(status: PublicStatus) -> Status:
    return Status.READY_TO_JOIN if status is PublicStatus.SCHEDULED else Status(status)


def _has_words(spelling: Spelling, of: Columns) -> ColumnElement[bool]:
    """Return the condition for all words. Only the longest one, or the end of a long number, uses the trigram index.

    Trigrams that most rows have, such as a country's prefix, take long to read and exclude little.
    """
    longest = max(spelling, key=len)
    end = longest[-SELECTIVE_DIGITS:]
    indexed = end if end.isdecimal() else longest
    unindexed = of.search_text + ""
    words = (_has_word(word, unindexed) for word in spelling if word != indexed)
    return and_(_has_word(indexed, of.search_text), *words)


def _has_word(word: str, texts: ColumnElement[str] | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Return the condition for a part of a word; one or two letters have to begin the word, digits do not.

    Any two digits are in so many phone numbers that a scan fills a page at once.
    """
    if len(word) >= TRIGRAM or word.isdecimal():
        return texts.contains(word, autoescape=True)
    inside = (texts.contains(before + word, autoescape=True) for before in (" ", "\n"))
    return or_(texts.startswith(word, autoescape=True), *inside)


def _fingerprint(filters: Filters, sort: Sort) -> str:
    """Return a hash of a list for its cursors: the same for equal filters and order, however they are written."""
    statuses, *others, q = astuple(filters)
    values = [value.timestamp() if isinstance(value, datetime) else value for value in others]
    return hashlib.sha256(repr((sort, sorted(statuses), values, parse_search(q))).encode()).hexdigest()[:16]


def _parse_cursor(cursor: str, fingerprint: str) -> tuple[datetime, uuid.UUID]:
    at, key, (cursor_fingerprint,) = decode_row(cursor, parts=1)
    if cursor_fingerprint != fingerprint:
        raise CursorInvalid(
            "The cursor belongs to another sort or to other filters. Send it with those of its page, or leave it out "
            "to start from the first page."
        )
    return at, key

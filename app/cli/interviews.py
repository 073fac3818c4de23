"""interviews list | show."""

import argparse
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import schemas, transcript
from app.api.lists import InterviewQuery
from app.cli.keys import find_organization
from app.cli.output import print_json, print_line, print_table
from app.cli.runtime import Commands, Sessions, fail, instant, positive_count, with_sessions
from app.core.database import transaction
from app.core.pagination import Page
from app.core.settings import DatabaseSettings, Settings
from app.core.validation_messages import message_of
from app.interviews.queries import View, get_interview, last_report
from app.interviews.schedule import DEFAULT_ORGANIZATION
from app.interviews.search import Sort, find_interviews
from app.interviews.timeline import Entry, read_timeline
from app.interviews.transcript import read_all_lines
from app.lifecycle import PublicStatus
from app.models import Interview, TranscriptLine

PAGE = 200  # interviews
ENTRIES = 500
FILTERS = ("status", "job_post_id", "application_id", "candidate_id")
INSTANTS = ("updated_since", "opens_before", "opens_after")


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("list", help="list interviews, with the filters of GET /interviews")
    command.add_argument("q", nargs="*", metavar="WORD", help="part of a name, job title or phone number")
    statuses = [status.value for status in PublicStatus]
    command.add_argument("--status", action="append", choices=statuses, help="may be repeated: any matches")
    for name in FILTERS[1:]:
        command.add_argument(f"--{name.replace('_', '-')}", metavar="ID")
    for name in INSTANTS:
        description = InterviewQuery.model_fields[name].description
        command.add_argument(f"--{name.replace('_', '-')}", type=instant, metavar="INSTANT", help=description)
    command.add_argument(
        "--sort", choices=[sort.value for sort in Sort], default=Sort.NEWEST.value, help="order (default: %(default)s)"
    )
    command.add_argument(
        "--limit", type=positive_count, default=50, help="maximum number of interviews (default: %(default)s)"
    )
    command.add_argument(
        "--organization", default=DEFAULT_ORGANIZATION, metavar="NAME", help="the organization (default: '%(default)s')"
    )
    command.add_argument("--json", action="store_true", help="one line of JSON per interview, as in the API")
    command.set_defaults(run=list_some, makes_database=False, settings=DatabaseSettings)
    command = commands.add_parser("show", help="show an interview, who is connected, its timeline, and what was said")
    command.add_argument("id", metavar="ID")
    command.add_argument(
        "--json", action="store_true", help="one JSON document, as in the API, with timeline and transcript"
    )
    command.set_defaults(run=show, makes_database=False, settings=DatabaseSettings)


def list_some(_: Settings, url: str, arguments: argparse.Namespace) -> None:
    """List matching interviews; print a note on standard error if there are more."""
    query = _query(arguments)

    async def read(sessions: Sessions) -> None:
        found: list[schemas.Interview] = []
        has_more = False
        async for page in _pages(sessions, query, arguments.organization, arguments.limit):
            shown = [schemas.Interview.of(view) for view in page.items]
            has_more = page.next_cursor is not None
            if arguments.json:
                for each in shown:
                    print_line(each.model_dump_json(by_alias=True))
            else:
                found += shown
        if not arguments.json:
            _print_list(found)
        if has_more:
            print(f"There are more than {arguments.limit}. Raise --limit to see them.", file=sys.stderr)

    with_sessions(url, read)


async def _pages(sessions: Sessions, query: InterviewQuery, organization: str, limit: int) -> AsyncIterator[Page[View]]:
    """Yield pages with `limit` interviews in all, each read in its own transaction."""
    cursor = None
    async with transaction(sessions) as session:
        organization_id = await find_organization(session, organization)
    while limit > 0:
        async with transaction(sessions) as session:
            page = await find_interviews(
                session,
                organization_id=organization_id,
                filters=query.filters(),
                sort=query.sort,
                cursor=cursor,
                limit=min(limit, PAGE),
                now=datetime.now(UTC),
            )
        yield page
        cursor = page.next_cursor
        limit = limit - PAGE if cursor else 0


def _query(arguments: argparse.Namespace) -> InterviewQuery:
    given = {to_camel(name): getattr(arguments, name) for name in (*FILTERS, *INSTANTS)}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return InterviewQuery.model_validate({"q": " ".join(arguments.q), "sort": arguments.sort} | given)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        fail("\n".join(f"{fault['loc'][0]} {message_of(fault)}" for fault in faults))


def _print_list(interviews: Sequence[schemas.Interview]) -> None:
    columns = ("INTERVIEW", "STATUS", "CANDIDATE", "JOB", "PHONE", "OPENS", "CHANGED")
    rows = (
        (
            each.interview_id,
            " / ".join(filter(None, (each.status, each.end_reason))),
            each.participant_name,
            each.job_title,
            each.phone_number,
            each.opens_at,
            each.updated_at,
        )
        for each in interviews
    )
    print_table(columns, rows)


def show(_: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Show an interview of any organization; exit 1 if it does not exist."""
    found = with_sessions(url, lambda sessions: _read(sessions, arguments.id))
    if found is None:
        fail(f"No interview has the id '{arguments.id}'. 'interviews list' shows the ids.")
    detail = found.detail.model_dump(mode="json", by_alias=True)
    timeline = [schemas.TimelineEntry.of(entry).model_dump(mode="json", by_alias=True) for entry in found.timeline]
    if arguments.json:
        print_json(detail | {"timeline": timeline, "transcript": [_line_as_json(line) for line in found.transcript]})
        return
    connected = detail.pop("connected")
    print_table(("FIELD", "VALUE"), [(name, _as_json(value)) for name, value in detail.items() if value is not None])
    print_line("")
    if connected:
        rows = [(each["identity"], each["role"], each["joinedAt"]) for each in connected]
        print_table(("CONNECTED NOW", "ROLE", "SINCE"), rows)
    else:
        print_line("Nobody is connected.")
    print_line("")
    print_table(("AT", "ATTEMPT", "WHAT HAPPENED"), [(each["at"], each["attempt"], each["text"]) for each in timeline])
    if found.transcript:
        print_line("")
        spoken = [(line.said_at, line.attempt, line.speaker, line.text) for line in found.transcript]
        print_table(("SAID AT", "ATTEMPT", "BY", "TEXT"), spoken)


def _line_as_json(line: TranscriptLine) -> dict[str, object]:
    return {"attempt": line.attempt} | transcript.TranscriptLine.of(line).model_dump(mode="json", by_alias=True)


def _as_json(value: object) -> object:
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


@dataclass(frozen=True, slots=True)
class ShownInterview:
    """An interview, and what happened and was said in all of its attempts."""

    detail: schemas.InterviewDetail
    timeline: Sequence[Entry]
    transcript: Sequence[TranscriptLine]


async def _read(sessions: Sessions, id_: str) -> ShownInterview | None:
    try:
        interview_id = uuid.UUID(id_)
    except ValueError:
        return None
    now = datetime.now(UTC)
    async with transaction(sessions) as session:
        owner = await session.scalar(select(Interview.organization_id).where(Interview.id == interview_id))
        if owner is None:
            return None
        view = await get_interview(session, organization_id=owner, interview_id=interview_id, now=now)
        report = await last_report(session, interview=view.interview)
        lines = await read_all_lines(session, interview_id=interview_id)
        count = sum(line.attempt == view.interview.attempt for line in lines)
        detail = schemas.InterviewDetail.with_report(view, report, count)
        return ShownInterview(detail, await _timeline(session, interview_id), lines)


async def _timeline(session: AsyncSession, interview_id: uuid.UUID) -> list[Entry]:
    page = await read_timeline(session, interview_id=interview_id, cursor=None, limit=ENTRIES)
    entries = list(page.items)
    while page.next_cursor:
        page = await read_timeline(session, interview_id=interview_id, cursor=page.next_cursor, limit=ENTRIES)
        entries += page.items
    return entries

"""interviews watch."""

import argparse
import asyncio
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.cli.keys import find_organization
from app.cli.output import print_json, print_line, printable
from app.cli.runtime import Commands, Sessions, with_sessions
from app.core.database import transaction
from app.core.settings import DatabaseSettings, Settings
from app.interviews.schedule import DEFAULT_ORGANIZATION
from app.models import Change, Interview
from app.stream.feed import Position, feed_end, read_feed
from app.webhooks.payload import payload_of

POLL = 0.5  # seconds
BATCH = 200  # changes


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("watch", help="print changes as they happen, until Ctrl-C")
    command.add_argument(
        "--organization", default=DEFAULT_ORGANIZATION, metavar="NAME", help="the organization (default: '%(default)s')"
    )
    command.add_argument("--json", action="store_true", help="one line of JSON per change, as in webhooks")
    command.set_defaults(run=watch, makes_database=False, settings=DatabaseSettings)


def watch(_: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Print each change from now on, once and in order."""

    async def follow(sessions: Sessions) -> None:
        async with transaction(sessions) as session:
            organization_id = await find_organization(session, arguments.organization)
            position = await feed_end(session)
        while True:
            async with transaction(sessions) as session:
                changes = await read_feed(session, organization_id=organization_id, after=position, limit=BATCH)
                lines = [] if arguments.json else await _lines(session, changes)
            for change in changes:
                position = Position.of(change)
                if arguments.json:
                    print_json(payload_of(change))
            for line in lines:
                print_line(line)
            if len(changes) < BATCH:
                await asyncio.sleep(POLL)

    with_sessions(url, follow)


async def _lines(session: AsyncSession, changes: Sequence[Change]) -> list[str]:
    """Return a line for each change, with the candidate's name and job."""
    ids = {change.interview_id for change in changes}
    columns = (Interview.id, Interview.participant_name, Interview.job_title)
    rows = await session.execute(select(*columns).where(Interview.id.in_(ids)))
    names = {row.id: f"{row.participant_name}, {row.job_title}" for row in rows} if ids else {}
    return [
        printable(f"{change.at:%T}Z  {change.interview_id}  {_summary(change)}  ({names[change.interview_id]})")
        for change in changes
    ]


def _summary(change: Change) -> str:
    status = " / ".join(filter(None, (change.status, change.end_reason)))
    if change.previous_status in (None, change.status):
        return f"{status}: {change.type.removeprefix('interview.')}"
    return f"{change.previous_status} -> {status}"

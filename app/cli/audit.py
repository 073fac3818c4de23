"""interviews audit."""

import argparse
import sys

from app.cli.output import progress
from app.cli.runtime import Commands, Sessions, instant, with_sessions
from app.core.database import transaction
from app.core.settings import DatabaseSettings, Settings
from app.worker.audit import audit, count_audited


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("audit", help="derive every status again, recount, and compare with what is stored")
    command.add_argument("--since", type=instant, help="only interviews changed since then, as 2026-11-22T09:00:00Z")
    command.set_defaults(run=audit_all, makes_database=False, settings=DatabaseSettings)


def audit_all(settings: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Print each stored value that differs from the derived one; exit 1 if there is any."""

    async def find(sessions: Sessions) -> int:
        found = 0
        async with transaction(sessions) as session:
            total = await count_audited(session, since=arguments.since)
        with progress("Interviews", total) as advance:
            async for batch in audit(sessions, timeouts=settings.timeouts, since=arguments.since):
                for each in batch.differences:
                    print(each)
                found += len(batch.differences)
                advance(batch.compared)
        return found

    found = with_sessions(url, find)
    print(f"{found} differences")
    if found:
        sys.exit(1)

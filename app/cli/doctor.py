"""interviews doctor."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime

from app.cli.doctor_checks import Finding, State, examine, table
from app.cli.runtime import Commands
from app.core.database import create_engine, create_sessionmaker
from app.core.settings import Settings
from app.livekit.access_tokens import accept_secrets, signer_of


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("doctor", help="check a running deployment: database, LiveKit, clocks, webhooks")
    command.add_argument("--json", action="store_true", help="for scripts: {ok, findings: [{what, state, seen, todo}]}")
    command.set_defaults(run=doctor, makes_database=False)


def doctor(settings: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Print the findings; exit 1 on a fault. An unreachable database is a finding too."""
    accept_secrets(settings)

    async def examined() -> list[Finding]:
        engine = create_engine(url)
        try:
            found = examine(settings, create_sessionmaker(engine), signer=signer_of(settings), now=datetime.now(UTC))
            return await found
        finally:
            await engine.dispose()

    findings = asyncio.run(examined())
    is_ok = all(finding.state is not State.FAULT for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": is_ok, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print(table(findings))
    if not is_ok:
        sys.exit(1)

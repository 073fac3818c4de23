"""interviews serve | worker | migrate | audit | doctor | keys | list | show | watch | simulate."""

import argparse
import signal
import sys
from types import FrameType
from typing import NoReturn

from app.cli import auditing, examining, finding, keys, serving, watching
from app.cli.progress import progress
from app.cli.running import database, fail, read_settings
from app.embedded_postgres import EmbeddedPostgresError
from app.livekit import allow_short_secrets
from app.logs import configure_logging
from app.simulation import run as simulation


def main() -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(prog="interviews", description="LiveKit interviews, and a status that is true.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (serving, auditing, examining, keys, finding, watching):
        group.add_commands(commands)
    simulate = commands.add_parser("simulate", help="try a deployment with interviews whose truth is known")
    simulation.add_arguments(simulate)
    simulate.set_defaults(simulate=True)
    arguments = parser.parse_args()
    if hasattr(arguments, "simulate"):  # speaks to a deployment, and needs neither its settings nor its database
        sys.exit(simulation.main(arguments, progress))
    settings = read_settings()
    configure_logging()
    if settings.is_local:
        allow_short_secrets()
    # uvicorn raises the signal again when it is done; as SystemExit it lets the embedded Postgres be stopped.
    signal.signal(signal.SIGTERM, _exit)
    try:
        with database(settings, make=arguments.makes_database) as url:
            arguments.run(settings, url, arguments)
    except EmbeddedPostgresError as error:
        fail(f"The embedded Postgres can't be had: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)

"""Finds the command, gives it settings and a database, and runs it."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from app import __version__
from app.cli.runtime import Commands, database, fail, read_settings
from app.core.embedded_postgres import EmbeddedPostgresError
from app.core.logging import configure_logging
from app.core.settings import Settings

# The module of each command. Only the called one is imported: importing all takes three times as long.
MODULES = {name: name for name in ("serve", "migrate", "worker", "audit", "doctor", "keys", "watch", "simulate")}
MODULES |= {"list": "interviews", "show": "interviews"}


def run(arguments: argparse.Namespace) -> None:
    """Run the command that the arguments name."""
    if hasattr(arguments, "simulate"):  # needs no settings and no database
        sys.exit(arguments.simulate(arguments))
    settings = read_settings(arguments.settings)
    configure_logging()
    # uvicorn raises the signal again after its shutdown; as SystemExit it lets us stop the embedded Postgres.
    signal.signal(signal.SIGTERM, _exit)
    arguments.before(settings, arguments)
    try:
        with database(settings, make=arguments.makes_database) as url:
            arguments.run(settings, url, arguments)
    except EmbeddedPostgresError as error:
        fail(f"The embedded Postgres can't start: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser for the command named first, or for all commands if none is."""
    parser = argparse.ArgumentParser(prog="interviews", description="LiveKit interviews, and a status that is true.")
    parser.add_argument("--version", action="version", version=f"interviews {__version__}")
    parser.set_defaults(settings=Settings, before=lambda *_: None)
    commands: Commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = given[0] if given else ""
    if command != "--version":  # prints at once, and needs no command
        for module in [MODULES[command]] if command in MODULES else dict.fromkeys(MODULES.values()):
            import_module(f"app.cli.{module}").add_commands(commands)
    return parser


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)

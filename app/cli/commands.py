"""Finds the command, gives it settings and a database, and runs it."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from app import __version__
from app.cli.runtime import Commands, database, fail, read_settings
from app.core.embedded_postgres import EmbeddedPostgresError
from app.core.logging import configure_logging

# The module of each command. Only the called one is imported: importing all takes three times as long.
MODULES = {
    "app.cli.serve": ("serve",),
    "app.cli.migrate": ("migrate",),
    "app.cli.worker": ("worker",),
    "app.cli.audit": ("audit",),
    "app.cli.doctor": ("doctor",),
    "app.cli.keys": ("keys",),
    "app.cli.interviews": ("list", "show"),
    "app.cli.watch": ("watch",),
    "app.cli.simulate": ("simulate",),
}


def run(arguments: argparse.Namespace) -> None:
    """Run the command that the arguments name."""
    if hasattr(arguments, "simulate"):  # needs no settings and no database
        sys.exit(arguments.simulate(arguments))
    settings = read_settings()
    configure_logging()
    # uvicorn raises the signal again after its shutdown; as SystemExit it lets us stop the embedded Postgres.
    signal.signal(signal.SIGTERM, _exit)
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
    commands: Commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in _modules(given[0] if given else ""):
        import_module(module).add_commands(commands)
    return parser


def _modules(command: str) -> Iterator[str]:
    if command == "--version":  # prints at once, and needs no command
        return
    found = [module for module, commands in MODULES.items() if command in commands]
    yield from found or MODULES


def _exit(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)

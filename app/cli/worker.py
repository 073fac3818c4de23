"""interviews worker."""

import argparse

from app.cli.runtime import Commands, with_sessions
from app.core.settings import Settings
from app.livekit.access_tokens import accept_secrets
from app.worker.runner import run_alone


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("worker", help="run the background worker without the API")
    command.set_defaults(run=worker, makes_database=True)


def worker(settings: Settings, url: str, _: argparse.Namespace) -> None:
    """Run until stopped."""
    accept_secrets(settings)
    with_sessions(url, lambda sessions: run_alone(settings, sessions))

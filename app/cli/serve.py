"""interviews serve."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from app.cli.fast_imports import importing
from app.cli.runtime import Commands, direct_url, fail
from app.core.settings import Settings


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("serve", help="migrate, then listen on HOST:PORT")
    command.add_argument("--workers", type=_count, metavar="N", help="serving processes (default WORKERS, which is 1)")
    command.set_defaults(run=serve, makes_database=True)


def _count(given: str) -> int:
    if (number := int(given)) < 1:
        raise ValueError
    return number


def serve(settings: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Migrate, see to the first organization, its key and the demo interview, then serve until told to stop."""
    workers = arguments.workers or settings.workers
    with _counters() if workers > 1 else nullcontext() as counters:
        with importing():
            # where there are several processes, prometheus_client must be told before anything imports it
            from app.cli.preparation import prepare
            from app.livekit.access_tokens import accept_secrets
            from app.server.run import PortUnavailable, run

        accept_secrets(settings)
        greeting = prepare(settings, url)
        try:
            run(
                settings,
                url,
                listen_url=direct_url(settings, url),
                workers=workers,
                counters=counters,
                on_ready=lambda: print(greeting, flush=True),
            )
        except PortUnavailable as error:
            fail(str(error))


@contextmanager
def _counters() -> Iterator[str]:
    """Make the folder in which several processes count, and tell prometheus_client of it."""
    made_by = os.getpid()
    folder = tempfile.mkdtemp(prefix="interviews-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield folder
    finally:
        if os.getpid() == made_by:  # a process that was forked inside has come to its own end only
            shutil.rmtree(folder, ignore_errors=True)

"""interviews serve."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from app.cli import importing
from app.cli.runtime import Commands, direct_url, fail, positive_count
from app.core.settings import Settings
from app.server.listening import PortUnavailable, listen


def add_commands(commands: Commands) -> None:
    command = commands.add_parser("serve", help="migrate, then serve the API and run the worker")
    command.add_argument(
        "--workers", type=positive_count, metavar="N", help="number of processes (default: WORKERS, 1)"
    )
    command.set_defaults(run=serve, makes_database=True, before=reserve_port)


def reserve_port(settings: Settings, arguments: argparse.Namespace) -> None:
    """Listen before the database starts; exit with a message if the port is in use."""
    try:
        arguments.listening = listen(settings.host, settings.port)
    except PortUnavailable as error:
        fail(str(error))


def serve(settings: Settings, url: str, arguments: argparse.Namespace) -> None:
    """Migrate, create the first organization, key and demo interview, then serve until stopped."""
    workers = arguments.workers or settings.workers
    settings = settings.model_copy(update={"port": arguments.listening.getsockname()[1]})  # with PORT=0 the system's
    with _counters() if workers > 1 else nullcontext() as counters:
        with importing():
            # for several processes prometheus_client reads its folder from the environment when it is imported
            from app.cli.preparation import prepare
            from app.livekit.access_tokens import accept_secrets
            from app.server.run import run

        accept_secrets(settings)
        greeting = prepare(settings, url)
        run(
            settings,
            url,
            listening=arguments.listening,
            listen_url=direct_url(settings, url),
            workers=workers,
            counters=counters,
            on_ready=lambda: print(greeting, flush=True),
        )


@contextmanager
def _counters() -> Iterator[str]:
    """Create the folder in which several processes keep their metrics, and set it for prometheus_client."""
    creator = os.getpid()
    folder = tempfile.mkdtemp(prefix="interviews-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield folder
    finally:
        if os.getpid() == creator:  # not when a forked process ends
            shutil.rmtree(folder, ignore_errors=True)

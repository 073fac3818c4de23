"""The service as a process of its own on a real Postgres, for what can only be shown over a socket."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import API_KEY, LIVEKIT_KEY, LIVEKIT_SECRET
from tests.e2e.processes import Process, clean_environment, free_port, http_status


@contextlib.contextmanager
def serving(folder: Path, *, database_url: str, **settings: str) -> Iterator[str]:
    """Give the URL of a service that is ready and has the demo interview; no LiveKit is there."""
    port = free_port()
    process = Process(
        [sys.executable, "-m", "app.cli", "serve"],
        env=clean_environment(
            DATABASE_URL=database_url,
            PORT=str(port),
            BOOTSTRAP_API_KEY=API_KEY,
            LIVEKIT_API_KEY=LIVEKIT_KEY,
            LIVEKIT_API_SECRET=LIVEKIT_SECRET,
            RUN_WORKER="false",
            **settings,
        ),
        cwd=folder,
        log=folder / "service.log",
    )
    try:
        process.start()
        process.wait_until(lambda: http_status(port, "/health/ready") == 200, within=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()

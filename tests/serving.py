"""The service as a process on a real Postgres, for tests over a socket."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import API_KEY, LIVEKIT_KEY, LIVEKIT_SECRET
from tests.e2e.processes import Process, clean_environment, free_port, http_status


@contextlib.contextmanager
def serving(folder: Path, *, database_url: str, **settings: str) -> Iterator[str]:
    """Yield the URL of a ready service with the demo interview and without LiveKit."""
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

"""The service as an operator runs it: a process that is configured by its environment."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.livekit_server import LiveKitServer
from tests.e2e.processes import Process, clean_environment, http_status

API_KEY = "ik_end_to_end_tests"


def webhook_url(port: int) -> str:
    """Return the webhook URL of a service on this port, which LiveKit needs before the service starts."""
    return f"http://127.0.0.1:{port}/webhooks/livekit"


class Service:
    """`interviews serve` on a port that stays the same when it restarts after `kill()` or `stop()`."""

    api_key = API_KEY

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        database_url: str,
        livekit: LiveKitServer,
        allowed_origins: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "service.log"
        # the test's own folder has no .env
        self._process = Process(
            [sys.executable, "-m", "app.cli", "serve"],
            env=clean_environment(
                DATABASE_URL=database_url,
                HOST="127.0.0.1",
                PORT=str(port),
                ENVIRONMENT="local",
                JOIN_POLICY="open",
                LIVEKIT_URL=livekit.ws_url,
                LIVEKIT_API_KEY=livekit.api_key,
                LIVEKIT_API_SECRET=livekit.api_secret,
                BOOTSTRAP_API_KEY=API_KEY,
                ALLOWED_ORIGINS=allowed_origins,
                **(env or {}),
            ),
            cwd=folder,
            log=self.log,
        )

    @property
    def env(self) -> dict[str, str]:
        """The environment of the next start; change it in place."""
        return self._process.env

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def start(self) -> None:
        """Return once GET /health/ready is 200. Raises ProcessFailed with its log if it ends, or after 60 s."""
        self._process.start()
        try:
            self._process.wait_until(lambda: http_status(self.port, "/health/ready") == 200, within=60)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> int | None:
        """Send SIGTERM; return the exit code, or None if it had to be killed after 60 s."""
        if not self.is_running:
            return None
        self._process.send(signal.SIGTERM)
        code = self._process.wait(60)
        if code is None:
            self._process.kill()
        return code

    def kill(self) -> None:
        """Send SIGKILL, as in a crash."""
        self._process.kill()

    def log_tail(self, lines: int = 60) -> str:
        return self._process.log_tail(lines)

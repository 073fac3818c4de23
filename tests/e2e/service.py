"""The service as an operator runs it: a process of its own, told everything by its environment."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.livekit_server import LiveKitServer
from tests.e2e.processes import Process, clean_environment, http_status

API_KEY = "ik_end_to_end_tests"


def webhook_url(port: int) -> str:
    """Where a service on this port takes LiveKit's webhooks; LiveKit is started before the service and must know."""
    return f"http://127.0.0.1:{port}/webhooks/livekit"


class Service:
    """`interviews serve` on a port that it keeps when it is started again after `kill()` or `stop()`."""

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
        # the folder is the test's own, so no .env is read there
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
        """What the next start gets; change it in place."""
        return self._process.env

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def start(self) -> None:
        """Returns once GET /health/ready answers 200; ProcessFailed with its log if it ends, or after 60 s."""
        self._process.start()
        try:
            self._process.wait_until(lambda: http_status(self.port, "/health/ready") == 200, within=60)
        except BaseException:
            self._process.kill()
            raise

    def stop(self) -> int | None:
        """SIGTERM; its exit code, or None if it did not end within 60 s and was killed."""
        if not self.is_running:
            return None
        self._process.send(signal.SIGTERM)
        code = self._process.wait(60)
        if code is None:
            self._process.kill()
        return code

    def kill(self) -> None:
        """SIGKILL, as in a crash."""
        self._process.kill()

    def log_tail(self, lines: int = 60) -> str:
        return self._process.log_tail(lines)

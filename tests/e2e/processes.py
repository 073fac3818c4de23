"""Child processes of a test."""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.e2e.conditions import eventually

# Below the ephemeral ports of Linux and macOS, so a port stays free while its server is down in an outage test.
_PORTS = range(20_000, 32_000)


class ProcessFailed(Exception):
    """A process ended, or was not ready in time; the message contains the tail of its log."""


class Process:
    """A program that writes to `log`; a restart appends to it."""

    def __init__(self, args: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.args = list(args)
        self.env = dict(env)
        self.cwd = cwd
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._started_at = 0  # bytes in the log from earlier runs

    def start(self) -> None:
        if self.is_running:
            raise RuntimeError(f"{self.args[0]} is running")
        with self.log.open("ab") as log:
            self._started_at = log.tell()
            # Its stdin is a pipe that closes when this process dies, even by SIGKILL; programs may watch it.
            self._child = subprocess.Popen(  # noqa: S603 - the arguments are the tests' own
                self.args, env=self.env, cwd=self.cwd, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.args[0]} was not started")
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self.wait(0) is None

    def wait_until(self, ready: Callable[[], bool], *, within: float) -> None:
        """Return once `ready()`. Raises ProcessFailed if the process ends first or after `within` seconds."""
        deadline = time.monotonic() + within
        while not ready():
            if not self.is_running:
                code = None if self._child is None else self._child.returncode
                raise ProcessFailed(f"{self.args[0]} ended with {code}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.args[0]} was not ready within {within:g} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def send(self, sent: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(sent)

    def wait(self, within: float) -> int | None:
        """Return the exit code, or None if the process still runs after `within` seconds."""
        if self._child is None:
            return None
        try:
            code = self._child.wait(within)
        except subprocess.TimeoutExpired:
            return None
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        return code

    def kill(self) -> None:
        """Send SIGKILL, as in a crash."""
        if self._child is not None:
            self._child.kill()
            self.wait(10)

    @property
    def output(self) -> str:
        """The output since the last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._started_at)
            return log.read().decode(errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        """Return the last lines of all runs, cut to 400 characters, because LiveKit logs session descriptions."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])


def clean_environment(**extra: str) -> dict[str, str]:
    """Return PATH and HOME of this process only."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | extra


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free for TCP and UDP; another process may take it meanwhile."""
    while True:
        # not `random`: pytest-randomly gives every worker the same seed, so all would try the same ports
        port = secrets.choice(_PORTS)
        if _can_bind(port, socket.SOCK_STREAM) and _can_bind(port, socket.SOCK_DGRAM):
            return port


def http_status(port: int, path: str) -> int | None:
    """Return the status of a GET to 127.0.0.1, None without a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _can_bind(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def says(process: Process, line: str) -> None:
    """Return when the process has printed that line. Raises ProcessFailed with its log if it ends first."""

    def said() -> bool:
        if not process.is_running:
            raise ProcessFailed(f"the process ended:\n{process.log_tail()}")
        return line in process.output.splitlines()

    await eventually(said)

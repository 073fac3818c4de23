"""A real Redis server, in memory only."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import Process, clean_environment, free_port
from tests.e2e.toolchain import Missing, missing


class Redis(Process):
    """A server on a free port of 127.0.0.1, which stays the same after a restart."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        args = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__(args, env=clean_environment(), cwd=folder, log=folder / "redis.log")

    def start_and_wait(self) -> None:
        self.start()
        self.wait_until(self._answers, within=30)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def running_redis(folder: Path) -> Iterator[Redis]:
    """Yield a ready server. Without the program skip, or fail under REQUIRE_E2E=1."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        missing(Missing("redis-server is not installed: apt install redis-server"))
    server = Redis(program, folder)
    try:
        server.start_and_wait()
        yield server
    finally:
        server.kill()

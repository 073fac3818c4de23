"""A real livekit-server for the tests, found on this machine or built from the module pinned beside this file.

`python -m tests.e2e.livekit_server` builds it and prints its path.
"""

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.processes import Process, ProcessFailed, clean_environment, free_port, http_status
from tests.e2e.toolchain import Missing, cache_folder, one_at_a_time

VERSION = "1.13.4"
MODULE = Path(__file__).parent / "livekit-server"
PACKAGE = "github.com/livekit/livekit-server/cmd/server"


def find_or_build() -> Path:
    """Return the program of LIVEKIT_SERVER, the right version on PATH, or one built once into the user's cache.

    Raises Missing if none exists and Go is missing, or if the build fails.
    """
    if named := os.environ.get("LIVEKIT_SERVER"):
        if not os.access(named, os.X_OK):
            raise Missing(f"LIVEKIT_SERVER names {named}, which is no program")
        return Path(named).resolve()
    on_path = shutil.which("livekit-server")
    if on_path is not None and _version(on_path) == VERSION:
        return Path(on_path)
    pinned = hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()[:12]
    binary = cache_folder() / f"livekit-server-{VERSION}-{pinned}" / "livekit-server"
    with one_at_a_time("livekit-server"):
        if not binary.exists():
            _build(binary)
    return binary


def _version(program: str) -> str:
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    return shown.stdout.strip().removeprefix("livekit-server version ")


def _build(binary: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise Missing(
            f"no livekit-server {VERSION}, and no Go to build it: install Go, put livekit-server on PATH, "
            "or name it in LIVEKIT_SERVER"
        )
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        new = Path(folder) / "livekit-server"
        # readonly: every module must be in the committed go.sum, and go.mod and go.sum are not rewritten
        built = subprocess.run(  # noqa: S603 - Go, on the pinned module
            [go, "build", "-mod=readonly", "-buildvcs=false", "-o", str(new), PACKAGE],
            cwd=MODULE,
            env={**os.environ, "GOWORK": "off"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if built.returncode:
            raise Missing(f"go build of livekit-server {VERSION} failed:\n{built.stdout[-2000:]}")
        new.rename(binary)


class LiveKitServer:
    """A server on ports of 127.0.0.1 that stay the same when it restarts after `kill()` or `stop()`."""

    api_key = "devkey"

    def __init__(self, binary: Path, folder: Path, *, webhook_urls: Sequence[str]) -> None:
        self.webhook_urls = list(webhook_urls)
        self.api_secret = secrets.token_hex(24)
        self.more_keys: dict[str, str] = {}  # further key pairs that it accepts
        self.webhook_key = ""  # signs the webhooks; api_key by default
        self.room: dict[str, object] = {}  # the section `room` of its configuration
        self.log = folder / "livekit-server.log"
        self._config = folder / "livekit-server.json"
        self._ports: tuple[int, int, int] | None = None
        # a clean environment, because the server reads LIVEKIT_*
        self._process = Process(
            [str(binary), "--config", str(self._config)], env=clean_environment(), cwd=folder, log=self.log
        )

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return when it accepts connections. Raises Missing, or ProcessFailed with its log."""
        if {name for _, name in socket.if_nameindex()} <= {"lo", "lo0"}:
            raise Missing("LiveKit needs a network interface besides the loopback one")
        if self._ports is not None:
            return self._launch(self._ports)
        for _ in range(4):
            try:
                return self._launch((free_port(), free_port(), free_port()))
            except ProcessFailed:
                if "address already in use" not in self._process.output:
                    raise
        return self._launch((free_port(), free_port(), free_port()))

    def stop(self) -> None:
        """Send SIGTERM, on which it waits for its participants, a second one after 2 s, and SIGKILL 2 s later."""
        for _ in range(2):
            self._process.send(signal.SIGTERM)
            if self._process.wait(2) is not None:
                return
        self._process.kill()

    def kill(self) -> None:
        """Send SIGKILL: no webhook reports it."""
        self._process.kill()

    def log_tail(self, lines: int = 60) -> str:
        return self._process.log_tail(lines)

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    @property
    def _port(self) -> int:
        if self._ports is None:
            raise RuntimeError("the server has not been started, its ports are not known yet")
        return self._ports[0]

    def _launch(self, ports: tuple[int, int, int]) -> None:
        port, tcp_port, udp_port = ports
        # JSON is YAML. It has no room timeouts: those are in the token of the first participant.
        config = {
            "port": port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {**self.more_keys, self.api_key: self.api_secret},
            "room": self.room,
            "webhook": {"api_key": self.webhook_key or self.api_key, "urls": self.webhook_urls},
            "rtc": {
                "tcp_port": tcp_port,
                "udp_port": udp_port,
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
            },
        }
        self._config.write_text(json.dumps(config))
        self._process.start()
        try:
            self._process.wait_until(lambda: http_status(port, "/") == 200, within=60)
            # A SIGTERM in its first 300 ms is lost, and no event marks their end. By then a port conflict has ended
            # it too, even if another server answered on the port.
            time.sleep(0.3)
            self._process.wait_until(lambda: self._process.is_running, within=1)
        except ProcessFailed:
            self._process.kill()
            raise
        self._ports = ports


if __name__ == "__main__":
    sys.stdout.write(f"{find_or_build()}\n")

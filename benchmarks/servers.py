"""The servers under test, each started as one process as a user would, and their resource use."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tools import GO_PEER, PEERS
from tests.e2e.processes import Process, clean_environment, free_port, http_status

# Secrets of the benchmark only, as long as production requires.
API_KEY = "ik_benchmark_000000000000000000000000000000"
LIVEKIT_KEY = "benchmark-key"
LIVEKIT_SECRET = "benchmark-secret-of-more-than-32-characters"  # noqa: S105
AUTHORIZED = {"Authorization": f"Bearer {API_KEY}"}

TICK = os.sysconf("SC_CLK_TCK")
READY_WITHIN = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Contender:
    """A server's command, which gets PORT and DATABASE_URL; it is ready once `ready_at` returns `ready_status`."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_at: str = "/"
    ready_status: int = 404


def ours(policy: str = "open", *, name: str = "", **settings: str) -> Contender:
    """Return this service as in production: with worker, access log and its own secrets."""
    env = {
        "ENVIRONMENT": "production",
        "HOST": "127.0.0.1",
        "LIVEKIT_URL": "ws://127.0.0.1:1",  # unreachable: only the scenario nine o'clock has a LiveKit
        "LIVEKIT_API_KEY": LIVEKIT_KEY,
        "LIVEKIT_API_SECRET": LIVEKIT_SECRET,
        "BOOTSTRAP_API_KEY": API_KEY,
        "ALLOWED_ORIGINS": "https://jobs.example",
        "INVITE_URL": "https://jobs.example/interview/{interviewId}#invite={secret}",
        "JOIN_POLICY": policy,
        "RATE_LIMIT_PER_ADDRESS": "100000000/minute",  # counted, but never reached: the load has one address
        "RATE_LIMIT_PER_KEY": "100000000/minute",
        "DATABASE_POOL_SIZE": "10",  # as in the peers
    }
    command = [str(Path(sys.executable).with_name("interviews")), "serve"]
    return Contender(name or f"ours, {policy}", command, env | settings, "/health/ready", 200)


def node(name: str, script: str) -> Contender:
    secrets = {"NODE_ENV": "production", "LIVEKIT_API_KEY": LIVEKIT_KEY, "LIVEKIT_API_SECRET": LIVEKIT_SECRET}
    return Contender(name, ["node", str(PEERS / "node" / script)], secrets)


FASTIFY = node("Fastify", "fastify.mjs")
EXPRESS = node("Express", "express.mjs")
EXPRESS_WEBHOOKS = node("Express + WebhookReceiver", "webhooks.mjs")
GO = Contender("Go", [str(GO_PEER)])
NAIVE = Contender(
    "naive FastAPI",
    [sys.executable, str(PEERS / "python" / "naive.py")],
)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is ready."""

    pid: int
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Return user and system time of the process and its descendants, without Postgres."""
        return sum(int(ticks) for pid in process_tree(self.pid) for ticks in _stat(pid)[11:13]) / TICK

    def resident(self) -> int:
        """Return its present memory in bytes."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Return its peak memory in bytes, the sum of the peaks of several processes."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = [
            line
            for pid in process_tree(self.pid)
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith(name)
        ]
        return sum(int(line.split()[1]) * 1024 for line in lines)


@contextmanager
def run_server(contender: Contender, database_url: str, folder: Path) -> Iterator[RunningServer]:
    """Start the server, wait until it is ready, and stop it at the end. Its logs are in `folder`."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{contender.name.replace(' ', '-').replace(',', '')}.log"
    env = clean_environment(**contender.env, PORT=str(port), DATABASE_URL=database_url)
    process = Process(contender.command, env=env, cwd=folder, log=log)
    process.start()
    try:
        process.wait_until(lambda: http_status(port, contender.ready_at) == contender.ready_status, within=READY_WITHIN)
        yield RunningServer(process.pid, port, log)
    finally:
        process.send(signal.SIGTERM)
        if process.wait(20) is None:
            process.kill()
        log.unlink(missing_ok=True)


def process_tree(pid: int) -> list[int]:
    """Return the ids of `pid` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the program's name; empty if the process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return stat[stat.rindex(")") + 2 :].split()

"""The servers that are measured: started as a user would, each as one process, and what they use."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.tools import GO_PEER, PEERS
from tests.e2e.processes import Process, clean_environment, free_port, http_status

# Secrets of the benchmark alone, as long as production wants them.
API_KEY = "ik_benchmark_000000000000000000000000000000"
LIVEKIT_KEY = "benchmark-key"
LIVEKIT_SECRET = "benchmark-secret-of-more-than-32-characters"  # noqa: S105
AUTHORIZED = {"Authorization": f"Bearer {API_KEY}"}

TICK = os.sysconf("SC_CLK_TCK")
READY_WITHIN = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Contender:
    """How a server is started; it gets PORT and DATABASE_URL, and is up once `ready_at` answers `ready_status`."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_at: str = "/"
    ready_status: int = 404


def ours(policy: str = "open", *, name: str = "", **settings: str) -> Contender:
    """This service with all that production has on: worker, access log, its own secrets."""
    env = {
        "ENVIRONMENT": "production",
        "HOST": "127.0.0.1",
        "LIVEKIT_URL": "ws://127.0.0.1:1",  # nobody is there: no scenario but nine o'clock has a LiveKit
        "LIVEKIT_API_KEY": LIVEKIT_KEY,
        "LIVEKIT_API_SECRET": LIVEKIT_SECRET,
        "BOOTSTRAP_API_KEY": API_KEY,
        "ALLOWED_ORIGINS": "https://jobs.example",
        "INVITE_URL": "https://jobs.example/interview/{interviewId}#invite={secret}",
        "JOIN_POLICY": policy,
        "RATE_LIMIT_PER_ADDRESS": "100000000/minute",  # counted, and never reached: all of the load has one address
        "RATE_LIMIT_PER_KEY": "100000000/minute",
        "DATABASE_POOL_SIZE": "10",  # as the peers have
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
    """A server that answers."""

    pid: int
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time of the process and all that descends from it, so far. Postgres is not among them."""
        return sum(int(ticks) for pid in process_tree(self.pid) for ticks in _stat(pid)[11:13]) / TICK

    def resident(self) -> int:
        """Bytes of memory that it has now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """The most bytes of memory that it has had; of several processes the sum of their peaks."""
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
    """Start the server, wait until it answers, and stop it at the end. Its log, the access log too, is in `folder`."""
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
    """Return the process ids of `pid` and of all that descends from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the program's name; none if the process has ended meanwhile."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return stat[stat.rindex(")") + 2 :].split()

"""wrk, the load generator: sends prepared requests over connections, and measures the responses."""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.servers import RunningServer
from benchmarks.tools import LUA, BenchmarkFailed

TIMEOUT = 30  # seconds, after which a request counts as lost


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load. Latencies in seconds, rate in requests a second, cpu in seconds per request."""

    requests: int
    rate: float
    p50: float
    p95: float
    p99: float
    cpu: float
    peak: int
    """The server's most memory so far, in bytes."""

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def http_request(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    length = {"Content-Length": str(len(body))} if body else {}
    fields = {"Host": "bench", **(headers or {}), **length}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def prepare(requests: Iterable[bytes], file: Path) -> Path:
    """Write the requests for wrk; return the file."""
    with file.open("wb") as out:
        for request in requests:
            out.write(b"%d\n%s\n" % (len(request), request))
    return file


def load(
    server: RunningServer, requests: Path, *, connections: int, seconds: float, once: bool = False, pause: float = 0
) -> Load:
    """Send the prepared requests over connections for some seconds. `once`: each is sent only once.

    `pause` is the seconds that a connection waits before each request, on average.

    Raises BenchmarkFailed if a response is not 2xx or 3xx, or if there are too few requests.
    """
    before = server.cpu_seconds()
    said = _wrk(server, requests, connections, seconds, once=once, pause=pause)
    used = server.cpu_seconds() - before
    answered = said["requests"]
    if said["refused"] or said["broken"] or not answered:
        raise BenchmarkFailed(
            f"{requests.name}: of {answered} requests {said['refused']} were refused and {said['broken']} got "
            f"no answer; the server said:\n{_tail(server.log)}"
        )
    if once and said["asked"] > said["prepared"]:
        raise BenchmarkFailed(f"{requests.name}: {said['prepared']} requests were too few for {seconds:g} s")
    return Load(
        requests=answered,
        rate=answered / (said["duration"] / 1e6),
        p50=said["p50"] / 1e6,
        p95=said["p95"] / 1e6,
        p99=said["p99"] / 1e6,
        cpu=used / answered,
        peak=server.peak(),
    )


def _wrk(
    server: RunningServer, requests: Path, connections: int, seconds: float, *, once: bool, pause: float
) -> dict[str, int]:
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", f"{TIMEOUT}s", "--script", str(LUA), server.url]
    env = os.environ | {"REQUESTS": str(requests)} | ({"ONCE": "1"} if once else {})
    env |= {"PAUSE": str(round(pause * 1000))} if pause else {}
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    last = (finished.stdout.strip().splitlines() or [""])[-1]
    if not last.startswith("{"):
        raise BenchmarkFailed(f"wrk: {finished.stdout[-500:]} {finished.stderr[-500:]}")
    found: dict[str, int] = json.loads(last)
    return found


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])

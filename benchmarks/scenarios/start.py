"""Start: the time until `interviews serve` is ready, compared with an import of its dependencies."""

import statistics
import subprocess
import sys
import time

from benchmarks.interviews import drop_database, make_database
from benchmarks.options import Bench
from benchmarks.results import Goal, Section, median_ratio
from benchmarks.servers import ours, run_server

IMPORTS = [sys.executable, "-c", "import fastapi, sqlalchemy, livekit.api"]
PAIRS = 3  # starts per round, which are short and vary


def measure(bench: Bench) -> Section:
    """Start the service and import the dependencies in turn, on a migrated database."""
    url = make_database(bench.postgres, "starts")
    try:
        seconds_to_ready(url, bench)  # the first start compiles bytecode and is not measured
        starts, redact = [], []
        for _ in range(PAIRS * bench.options.rounds):
            starts.append(seconds_to_ready(url, bench))
            redact.append(seconds_to_import())
        return _section(starts, redact)
    finally:
        drop_database(bench.postgres, "starts")


def seconds_to_ready(url: str, bench: Bench) -> float:
    """Return the seconds from the start of the process until GET /health/ready is 200."""
    began = time.perf_counter()
    with run_server(ours(), url, bench.folder):
        return time.perf_counter() - began


def seconds_to_import() -> float:
    began = time.perf_counter()
    subprocess.run(IMPORTS, check=True)
    return time.perf_counter() - began


def _section(starts: list[float], redact: list[float]) -> Section:
    ratio = median_ratio(starts, redact)
    return Section(
        title="Start",
        about="From the start of the process until /health/ready answers 200, the database up and migrated, against "
        "`python -c 'import fastapi, sqlalchemy, livekit.api'`, in turn. It is looked at every 20 ms.",
        header=("", "median", "slowest"),
        rows=[
            [name, f"{statistics.median(found):.2f} s", f"{max(found):.2f} s"]
            for name, found in (("ready", starts), ("imports alone", redact))
        ],
        goals=[Goal("time to be ready against the imports alone", ratio, "at most", 2, 1.3)],
        raw={"starts": starts, "imports": redact},
    )

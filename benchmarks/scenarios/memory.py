"""Memory: the use of one process during 100,000 joins."""

from benchmarks.interviews import add_interviews, drop_database, make_database
from benchmarks.options import Bench
from benchmarks.results import Goal, Section, megabytes
from benchmarks.scenarios.join import OPEN, requests_of
from benchmarks.servers import run_server
from benchmarks.wrk import load

LOOKS = 10  # measurements on the way, at most
STEP = 2.0  # seconds of load between two counts of the joins


def measure(bench: Bench) -> Section:
    """Make the joins over 32 connections, and measure the memory at every tenth."""
    url = make_database(bench.postgres, "memory")
    try:
        requests = requests_of(OPEN, add_interviews(url, bench.options.joinable), bench.folder)
        with run_server(OPEN, url, bench.folder) as server:
            samples = [(0, server.resident())]
            while samples[-1][0] < bench.options.joins:
                joins = samples[-1][0]
                mark = joins + bench.options.joins // LOOKS
                while joins < mark:
                    joins += load(server, requests, connections=32, seconds=STEP).requests
                samples.append((joins, server.resident()))
            return _section(samples, server.peak())
    finally:
        drop_database(bench.postgres, "memory")


def _section(samples: list[tuple[int, int]], peak: int) -> Section:
    last = samples[-1][1]
    early = next(size for joins, size in samples if joins >= samples[-1][0] / 5)
    return Section(
        title="Memory",
        about="Resident memory of one process of ours while it is joined over 32 connections, by the policy open.",
        header=("joins", "memory"),
        rows=[[f"{joins:,}", megabytes(size)] for joins, size in samples],
        goals=[
            Goal("most memory of the process", peak / 1e6, "at most", 200, 130, " MB"),
            Goal("memory at the end against a fifth of the way", last / early, "at most", 1.1, 1.02),
        ],
        raw={"samples": samples, "peak": peak},
    )

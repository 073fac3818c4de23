"""Transcript: joins alone, and beside agents that append what is said in fifty interviews."""

import json
import statistics
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.interviews import Candidate, add_interviews, drop_database, fetch, make_database
from benchmarks.options import Bench
from benchmarks.results import Goal, Section, median_ratio, milliseconds
from benchmarks.scenarios.join import OPEN, WARM_UP, requests_of
from benchmarks.servers import AUTHORIZED, RunningServer, run_server
from benchmarks.tools import BenchmarkFailed
from benchmarks.wrk import Load, http_request, load, prepare

TALKING = 50  # interviews, each with an agent that has one call in flight at most
LINES = 2  # of a call: what is said within the half second for which the package interview_agent collects lines
PAUSE = 0.95  # seconds between two calls of an agent: with the call itself a second, so some 100 lines a second of all
CONNECTIONS = 32  # of the joins, each of which sends the next one at once
TEXT = "I would begin with an index on both columns, and look at what the planner makes of it. " * 2
STORED = "SELECT count(*) FROM transcript_lines"

ALONE, BESIDE, APPENDS = "joins alone", "joins beside transcripts", "appends"
Loads = dict[str, list[Load]]


def measure(bench: Bench) -> Section:
    """Measure both in each round on one server, in turns: whichever comes first changes."""
    url = make_database(bench.postgres, "transcript")
    try:
        candidates = add_interviews(url, bench.options.joinable)
        joins = requests_of(OPEN, candidates[TALKING:], bench.folder)
        loads: Loads = {ALONE: [], BESIDE: [], APPENDS: []}
        for number in range(bench.options.rounds):
            with run_server(OPEN, url, bench.folder) as server:
                load(server, joins, connections=CONNECTIONS, seconds=WARM_UP)
                for name in (ALONE, BESIDE)[:: 1 if number % 2 else -1]:
                    if name == ALONE:
                        loads[ALONE].append(_load_joins(server, joins, bench))
                    else:
                        _measure_beside(server, joins, bench, url, candidates[:TALKING], loads)
        return _section(loads)
    finally:
        drop_database(bench.postgres, "transcript")


def appends_to(talking: list[Candidate], calls: int) -> Iterator[bytes]:
    """Yield calls that append two lines each, to one interview after the other."""
    run = uuid.uuid4().hex[:8]
    for number in range(calls):
        interview_id = talking[number % len(talking)].interview_id
        at = datetime.now(UTC).isoformat()
        lines = [
            {"id": f"{run}-{number}-{speaker}", "speaker": speaker, "text": TEXT, "at": at}
            for speaker in ("agent", "candidate")
        ]
        body = {"roomName": f"interview-{interview_id}", "agent": "agent-AJ_bench", "lines": lines}
        headers = AUTHORIZED | {"Content-Type": "application/json"}
        yield http_request("POST", f"/interviews/{interview_id}/transcript", headers, json.dumps(body).encode())


def _load_joins(server: RunningServer, joins: Path, bench: Bench) -> Load:
    return load(server, joins, connections=CONNECTIONS, seconds=bench.options.seconds)


def _measure_beside(
    server: RunningServer, joins: Path, bench: Bench, url: str, talking: list[Candidate], loads: Loads
) -> None:
    before = int(fetch(url, STORED)[0][0])
    seconds = bench.options.seconds + 1  # until after the joins
    calls = prepare(appends_to(talking, round(4 * seconds * TALKING)), bench.folder / "appends")
    with ThreadPoolExecutor(1) as executor:
        appending = executor.submit(load, server, calls, connections=TALKING, seconds=seconds, once=True, pause=PAUSE)
        loads[BESIDE].append(_load_joins(server, joins, bench))
        loads[APPENDS].append(appending.result())
    stored, answered = int(fetch(url, STORED)[0][0]) - before, LINES * loads[APPENDS][-1].requests
    if not answered <= stored <= answered + LINES * TALKING:  # calls may be under way when the load ends
        raise BenchmarkFailed(f"Of {answered} lines that were answered {stored} are stored.")


def _section(loads: Loads) -> Section:
    ratio = median_ratio((each.p95 for each in loads[BESIDE]), (each.p95 for each in loads[ALONE]))
    lines = LINES * statistics.median(each.rate for each in loads[APPENDS])
    return Section(
        title="Transcript",
        about=f"{CONNECTIONS} connections join as fast as they can, alone, and beside the agents of {TALKING} "
        f"interviews, each of which appends {LINES} lines about once a second: {lines:.0f} lines a second in all. "
        "Each line that was answered has to be stored.",
        header=("", "calls/s", "p50", "p95", "p99"),
        rows=[[name, *_figures(found)] for name, found in loads.items()],
        goals=[Goal("p95 of joins beside 50 transcripts", ratio, "at most", 1.2, 1.1)],
        raw={name: [each.as_json() for each in found] for name, found in loads.items()},
    )


def _figures(found: list[Load]) -> list[str]:
    rate, *times = (
        statistics.median(each.as_json()[figure] for each in found) for figure in ("rate", "p50", "p95", "p99")
    )
    return [f"{rate:,.0f}", *map(milliseconds, times)]

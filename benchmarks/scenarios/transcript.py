"""Transcript: joins alone, and beside agents that append what is said in fifty interviews."""

import asyncio
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from benchmarks.interviews import Candidate, add_interviews, drop_database, fetch, make_database
from benchmarks.options import Bench
from benchmarks.results import Goal, Section, median_ratio, milliseconds
from benchmarks.scenarios.join import OPEN, WARM_UP, requests_of
from benchmarks.servers import AUTHORIZED, RunningServer, run_server
from benchmarks.tools import BenchmarkFailed
from benchmarks.wrk import Load, load

TALKING = 50  # interviews
LINES_A_SECOND = 100  # of all of them, each in a call of its own
CONNECTIONS = 32  # of the joins, each of which sends the next one at once
TEXT = "I would begin with an index on both columns, and look at what the planner makes of it. " * 2
STORED = "SELECT count(*) FROM transcript_lines"

Loads = dict[str, list[Load]]
ALONE, BESIDE = "joins alone", "joins beside transcripts"


class Writers:
    """Agents that append lines at fixed instants, in a thread with a loop of its own."""

    def __init__(self, server: RunningServer, talking: list[Candidate], first: int) -> None:
        self._server, self._talking = server, talking
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()))
        self.number = first
        self.took: list[float] = []
        self.refused: list[str] = []

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        async with aiohttp.ClientSession(self._server.url, headers=AUTHORIZED) as session, asyncio.TaskGroup() as group:
            while not self._over.is_set():
                due = began + sent / LINES_A_SECOND
                await asyncio.sleep(max(0, due - loop.time()))
                group.create_task(self._append(session, self.number, due))
                self.number, sent = self.number + 1, sent + 1

    async def _append(self, session: aiohttp.ClientSession, number: int, due: float) -> None:
        interview_id = self._talking[number % TALKING].interview_id
        path, body = f"/interviews/{interview_id}/transcript", body_of(interview_id, number)
        async with session.post(path, json=body) as answer:
            if answer.status != 200:
                self.refused.append(await answer.text())
        self.took.append(asyncio.get_running_loop().time() - due)


def body_of(interview_id: object, number: int) -> dict[str, object]:
    """Return the body of a call that appends one line."""
    speaker = ("agent", "candidate")[number % 2]
    line = {"id": f"line-{number}", "speaker": speaker, "text": TEXT, "at": datetime.now(UTC).isoformat()}
    return {"roomName": f"interview-{interview_id}", "agent": "agent-AJ_bench", "lines": [line]}


def measure(bench: Bench) -> Section:
    """Measure both in each round on one server, in turns: whichever comes first changes."""
    url = make_database(bench.postgres, "transcript")
    try:
        candidates = add_interviews(url, bench.options.joinable)
        joins = requests_of(OPEN, candidates[TALKING:], bench.folder)
        loads: Loads = {ALONE: [], BESIDE: []}
        took: list[float] = []
        for number in range(bench.options.rounds):
            with run_server(OPEN, url, bench.folder) as server:
                load(server, joins, connections=CONNECTIONS, seconds=WARM_UP)
                for name in (ALONE, BESIDE)[:: 1 if number % 2 else -1]:
                    if name == ALONE:
                        loads[name].append(_joins(server, joins, bench))
                    else:
                        loads[name].append(_joins_beside(server, joins, bench, url, candidates[:TALKING], took))
        return _section(loads, took)
    finally:
        drop_database(bench.postgres, "transcript")


def _joins(server: RunningServer, joins: Path, bench: Bench) -> Load:
    return load(server, joins, connections=CONNECTIONS, seconds=bench.options.seconds)


def _joins_beside(
    server: RunningServer, joins: Path, bench: Bench, url: str, talking: list[Candidate], took: list[float]
) -> Load:
    before = int(fetch(url, STORED)[0][0])
    writers = Writers(server, talking, before)
    with writers.writing():
        found = _joins(server, joins, bench)
    stored = int(fetch(url, STORED)[0][0]) - before
    sent = writers.number - before
    if writers.refused or stored != sent:
        raise BenchmarkFailed(f"Of {sent} lines {stored} are stored. Refused: {writers.refused[:1]}")
    if sent < 0.9 * LINES_A_SECOND * bench.options.seconds:
        raise BenchmarkFailed(f"Only {sent} lines were sent in {bench.options.seconds:g} s.")
    took += writers.took
    return found


def _section(loads: Loads, took: list[float]) -> Section:
    ratio = median_ratio((each.p95 for each in loads[BESIDE]), (each.p95 for each in loads[ALONE]))
    slow = statistics.quantiles(took, n=20)[-1]
    return Section(
        title="Transcript",
        about=f"{CONNECTIONS} connections join as fast as they can, alone, and beside agents of {TALKING} interviews "
        f"that append {LINES_A_SECOND} lines a second, each in a call of its own. All lines have to be stored.",
        header=("", "joins/s", "p50", "p95", "p99"),
        rows=[
            [
                name,
                f"{statistics.median(each.rate for each in found):,.0f}",
                *(
                    milliseconds(statistics.median(each.as_json()[figure] for each in found))
                    for figure in ("p50", "p95", "p99")
                ),
            ]
            for name, found in loads.items()
        ],
        goals=[Goal(f"p95 of joins beside {LINES_A_SECOND} lines a second", ratio, "at most", 1.2, 1.1)],
        notes=[f"A call that appends a line took {milliseconds(statistics.median(took))}, p95 {milliseconds(slow)}."],
        raw={name: [each.as_json() for each in found] for name, found in loads.items()},
    )

"""Transcript: joins alone, and beside agents that append what is said in fifty interviews."""

import asyncio
import json
import statistics
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.interviews import Candidate, add_interviews, drop_database, fetch, make_database
from benchmarks.options import Bench
from benchmarks.results import Goal, Section, median_ratio, milliseconds
from benchmarks.scenarios.join import OPEN, WARM_UP, requests_of
from benchmarks.servers import AUTHORIZED, RunningServer, run_server
from benchmarks.tools import BenchmarkFailed
from benchmarks.wrk import Load, load

TALKING = 50  # interviews
LINES_A_SECOND = 100  # of all of them
COLLECT_FOR = 0.5  # seconds, as in interview_agent
CONNECTIONS = 32  # of the joins, each of which sends the next one at once
TEXT = "I would begin with an index on both columns, and look at what the planner makes of it. " * 2
STORED = "SELECT count(*) FROM transcript_lines"

Json = dict[str, Any]
Loads = dict[str, list[Load]]
ALONE, BESIDE = "joins alone", "joins beside transcripts"


class Writers:
    """Agents that append lines as the package interview_agent does, in a thread with a loop of its own.

    Each collects lines for a moment before it sends them, and those that come during a call go with the next one.
    """

    def __init__(self, server: RunningServer, talking: list[Candidate]) -> None:
        self._server, self._talking = server, talking
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._write()))
        self._run = uuid.uuid4().hex[:8]
        self.lines = 0
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
        began = asyncio.get_running_loop().time()
        every = len(self._talking) / LINES_A_SECOND
        async with aiohttp.ClientSession(self._server.url, headers=AUTHORIZED) as session, asyncio.TaskGroup() as group:
            for number, each in enumerate(self._talking):
                first = began + every * number / len(self._talking)
                group.create_task(self._talk(session, each, first, every))

    async def _talk(self, session: aiohttp.ClientSession, candidate: Candidate, first: float, every: float) -> None:
        """Append a line for each instant that has passed, until the load is over."""
        loop, sent = asyncio.get_running_loop(), 0
        while not self._over.is_set():
            await asyncio.sleep(max(0, first + sent * every - loop.time()) + COLLECT_FOR)
            spoken = int((loop.time() - first) / every) + 1
            lines = [line_of(f"{self._run}-{number}", number) for number in range(sent, spoken)]
            began = loop.time()
            path, body = call_of(candidate, lines)
            async with session.post(path, data=body) as answer:
                if answer.status != 200:
                    self.refused.append(await answer.text())
            self.took.append(loop.time() - began)
            self.lines, sent = self.lines + len(lines), spoken


def line_of(id_: str, number: int) -> Json:
    speaker = ("agent", "candidate")[number % 2]
    return {"id": id_, "speaker": speaker, "text": TEXT, "at": datetime.now(UTC).isoformat()}


def call_of(candidate: Candidate, lines: list[Json]) -> tuple[str, bytes]:
    """Return the path and the body of a call that appends these lines."""
    body = {"roomName": f"interview-{candidate.interview_id}", "agent": "agent-AJ_bench", "lines": lines}
    return f"/interviews/{candidate.interview_id}/transcript", json.dumps(body).encode()


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
    writers = Writers(server, talking)
    with writers.writing():
        found = _joins(server, joins, bench)
    stored = int(fetch(url, STORED)[0][0]) - before
    if writers.refused or stored != writers.lines:
        raise BenchmarkFailed(f"Of {writers.lines} lines {stored} are stored. Refused: {writers.refused[:1]}")
    if stored < 0.9 * LINES_A_SECOND * bench.options.seconds:
        raise BenchmarkFailed(f"Only {stored} lines were stored in {bench.options.seconds:g} s.")
    took += writers.took
    return found


def _section(loads: Loads, took: list[float]) -> Section:
    ratio = median_ratio((each.p95 for each in loads[BESIDE]), (each.p95 for each in loads[ALONE]))
    slow = statistics.quantiles(took, n=20)[-1]
    return Section(
        title="Transcript",
        about=f"{CONNECTIONS} connections join as fast as they can, alone, and beside agents of {TALKING} interviews "
        f"that append {LINES_A_SECOND} lines a second, as the package interview_agent does: what is said within half a "
        "second in one call. All lines have to be stored.",
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
        notes=[f"A call that appends took {milliseconds(statistics.median(took))}, p95 {milliseconds(slow)}."],
        raw={name: [each.as_json() for each in found] for name, found in loads.items()},
    )

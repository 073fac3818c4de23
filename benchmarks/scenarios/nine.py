"""Nine o'clock: candidates join, meet an agent, drop once and finish within two minutes; no event may be lost."""

import asyncio
import bisect
import random
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from benchmarks.interviews import Candidate, add_interviews, drop_database, fetch, make_database
from benchmarks.options import Bench
from benchmarks.results import Goal, Section, megabytes, microseconds, milliseconds
from benchmarks.servers import AUTHORIZED, LIVEKIT_KEY, LIVEKIT_SECRET, RunningServer, ours, run_server
from benchmarks.stories import place_of, story, webhook_headers
from simulator.events import Event, Placement, events_of
from simulator.history import SECOND, History, Role
from simulator.livekit_api import LiveKitApi, serve_api
from simulator.livekit_state import LiveKitState
from simulator.player import ATTEMPTS, now_millis, sleep_until

A_SECOND = 25  # candidates a second: 3,000 in two minutes, and 200 webhooks a second
BEFORE = 2.0  # seconds until the first candidate, and
TO_SIGN = 0.003  # seconds more per candidate, to sign its webhooks beforehand
TALKS = (1.0, 3.0)  # seconds, of which each interview has two
KEEP_ALIVE = 3.0  # seconds
EARLY = 300  # milliseconds from the candidate's join until it is connected
LOOK = 0.05  # seconds between two checks of the queue
SETTLED = 15.0  # seconds until the worker is idle, too
TRUE = ("COMPLETED", "AGENT_REPORTED")
EVIDENCE = 8  # webhooks per interview
KEPT = "SELECT count(*) FROM timeline WHERE livekit_event_id IS NOT NULL"
OVERDUE = "SELECT count(*) FROM interviews WHERE next_deadline_at < now() - interval '5 seconds'"


@dataclass(slots=True)
class Morning:
    """The result: latencies in seconds; `due` are the instants at which webhooks are to be sent, in order."""

    due: list[int] = field(default_factory=list)
    webhooks: list[float] = field(default_factory=list)
    joins: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    """How many were due and not yet answered, looked at all the time."""
    done: int = 0
    """The number of webhooks that are done."""
    refused_webhooks: int = 0
    refused_joins: int = 0
    untrue: list[str] = field(default_factory=list)
    kept: int = 0
    overdue: int = 0
    cpu: float = 0
    peak: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One interview: its history, its placement and its signed webhooks."""

    candidate: Candidate
    history: History
    place: Placement
    events: Sequence[tuple[Event, dict[str, str]]]


def measure(bench: Bench) -> Section:
    """Play all interviews once, with a simulated LiveKit API for the worker."""
    url = make_database(bench.postgres, "nine")
    try:
        candidates = add_interviews(url, bench.options.candidates)
        morning = asyncio.run(_play(bench, url, candidates))
        morning.kept, morning.overdue = fetch(url, KEPT)[0][0], fetch(url, OVERDUE)[0][0]
        return _section(morning, len(candidates))
    finally:
        drop_database(bench.postgres, "nine")


async def _play(bench: Bench, url: str, candidates: list[Candidate]) -> Morning:
    state, morning = LiveKitState(now_millis), Morning()
    async with serve_api(LiveKitApi(state, key=LIVEKIT_KEY, secret=LIVEKIT_SECRET), "127.0.0.1", 0) as livekit:
        contender = ours(LIVEKIT_URL=livekit.replace("http", "ws"))
        starting = run_server(contender, url, bench.folder)
        server = await asyncio.to_thread(starting.__enter__)  # it calls our LiveKit while it starts
        try:
            await _run(server, state, candidates, morning)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
    return morning


async def _run(server: RunningServer, state: LiveKitState, candidates: list[Candidate], morning: Morning) -> None:
    parts = parts_of(candidates, begin=now_millis() + round((BEFORE + TO_SIGN * len(candidates)) * SECOND))
    for part in parts:
        state.add(part.history, part.place)
    morning.due = sorted(event.at for part in parts for event, _ in part.events)
    before = server.cpu_seconds()
    # shorter than the server's keep-alive timeout, so that no request uses a connection that is being closed
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
        watching = asyncio.create_task(_watch(morning))
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(_join(session, part, morning))
                group.create_task(_send_webhooks(session, part, morning))
        watching.cancel()
        morning.cpu, morning.peak = server.cpu_seconds() - before, server.peak()
        await asyncio.sleep(SETTLED)
        for part in parts:
            await _get(session, part.candidate, morning)


def parts_of(candidates: list[Candidate], *, begin: int) -> list[Part]:
    """Return the interviews; the first one starts at `begin`, in milliseconds since 1970."""
    drawn = random.Random(9)
    parts = []
    for number, candidate in enumerate(candidates):
        place = place_of(candidate, begin + round(number / A_SECOND * SECOND + drawn.uniform(0, SECOND)))
        history = story(uuid.uuid4().hex[:12], drawn.uniform(*TALKS))
        sent = [event for event in events_of(history, place) if not event.name.startswith("track_")]
        # each is signed for the second in which it will be sent
        signed = [(event, webhook_headers(event.raw, event.at / SECOND)) for event in sent]
        parts.append(Part(candidate, history, place, signed))
    return parts


async def _join(session: aiohttp.ClientSession, part: Part, morning: Morning) -> None:
    """Join each time before the candidate connects."""
    for visit in part.history.connections:
        if visit.role is Role.CANDIDATE:
            await sleep_until(part.place.origin + visit.joined - EARLY)
            status, took = await _post(session, f"/interviews/{part.candidate.interview_id}/join", b"{}", {})
            morning.joins.append(took)
            morning.refused_joins += status != 200


async def _send_webhooks(session: aiohttp.ClientSession, part: Part, morning: Morning) -> None:
    """Send the room's webhooks one after the other."""
    for event, headers in part.events:
        await sleep_until(event.at)
        await _deliver(session, event, headers, morning)
        morning.done += 1


async def _deliver(session: aiohttp.ClientSession, event: Event, headers: dict[str, str], morning: Morning) -> None:
    """Send a webhook until the response is 200, with as many retries as LiveKit."""
    first = now_millis()
    for offset in ATTEMPTS:
        await sleep_until(first + offset * SECOND)
        status, took = await _post(session, "/webhooks/livekit", event.raw, headers)
        morning.webhooks.append(took)
        if status == 200:
            return
        morning.refused_webhooks += 1


async def _post(session: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, float]:
    """Return the status, 0 without a response, and the seconds that it took."""
    began = time.perf_counter()
    try:
        async with session.post(path, data=body, headers=headers) as answer:
            await answer.read()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError):
        status = 0
    return status, time.perf_counter() - began


async def _watch(morning: Morning) -> None:
    """Check the queue from the first webhook to the last."""
    while True:
        if morning.due[0] <= now_millis() <= morning.due[-1]:
            morning.waiting.append(bisect.bisect_right(morning.due, now_millis()) - morning.done)
        await asyncio.sleep(LOOK)


async def _get(session: aiohttp.ClientSession, candidate: Candidate, morning: Morning) -> None:
    async with session.get(f"/interviews/{candidate.interview_id}", headers=AUTHORIZED) as answer:
        said = await answer.json()
    if (said["status"], said.get("endReason")) != TRUE:
        morning.untrue.append(f"{said['status']} / {said.get('endReason')}")


def _section(morning: Morning, candidates: int) -> Section:
    calls = len(morning.webhooks) + len(morning.joins)
    half = len(morning.waiting) // 2
    halves = [statistics.fmean(morning.waiting[:half]), statistics.fmean(morning.waiting[half:])]
    p99 = _percentile(morning.webhooks, 99)
    return Section(
        title="Nine o'clock",
        about=f"{candidates:,} interviews, {A_SECOND} a second, whose candidates join, meet an agent, drop once, join "
        f"again and finish: {EVIDENCE} webhooks each, in a room one after the other, when LiveKit would send them. "
        "A stand-in of LiveKit answers the worker.",
        header=("", "calls", "p50", "p99", "slowest"),
        rows=[
            _row("webhooks", morning.webhooks),
            _row("joins", morning.joins),
        ],
        notes=[
            f"CPU a call {microseconds(morning.cpu / calls)}, peak memory {megabytes(morning.peak)}. Due and not yet "
            f"answered: {halves[0]:.1f} webhooks on average in the first half, {halves[1]:.1f} in the second.",
        ],
        goals=[
            Goal("joins refused", morning.refused_joins, "at most", 0, 0, ""),
            Goal("webhooks refused at first, and sent again", morning.refused_webhooks, "at most", 0, 0, ""),
            Goal("events lost", candidates * EVIDENCE - morning.kept, "at most", 0, 0, ""),
            Goal("statuses that are not true", len(morning.untrue), "at most", 0, 0, ""),
            Goal("interviews that the worker has left undone", morning.overdue, "at most", 0, 0, ""),
            Goal(
                "webhooks waiting in the second half against the first",
                halves[1] / max(halves[0], 1),
                "at most",
                2,
                1.5,
            ),
            Goal("p99 of a webhook's answer", p99 * 1e3, "at most", 250, 250, " ms"),
        ],
        raw={"waiting": morning.waiting, "untrue": morning.untrue, "p99": p99},
    )


def _row(name: str, took: list[float]) -> list[str]:
    percentiles = [milliseconds(_percentile(took, percent)) for percent in (50, 99)]
    return [name, f"{len(took):,}", *percentiles, milliseconds(max(took))]


def _percentile(found: list[float], percent: int) -> float:
    return sorted(found)[min(len(found) - 1, len(found) * percent // 100)]

"""A candidate that reconnects in a loop: what derive() takes for its sessions, and what the others notice."""

import http.client
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from app.lifecycle.facts import Facts
from benchmarks.interviews import Candidate, add_interviews, drop_database, make_database, run
from benchmarks.options import Bench
from benchmarks.results import Chart, Goal, Section, milliseconds
from benchmarks.scenarios.webhooks import EVENTS, events_about
from benchmarks.servers import RunningServer, ours, run_server
from benchmarks.sessions import SHAPES, seconds_to_derive
from benchmarks.stories import place_of, webhook_headers, webhook_request
from benchmarks.wrk import Load, load, prepare
from simulator.events import Event, events_of
from simulator.history import Connection, History, Result, Role, Room

SIZES = (1000, 2000, 4000)
IN_TURN = 9  # measurements of each size
SESSIONS = 1000  # that the looping candidate has made already
JOIN_TAKES = 0.2  # seconds from a leave to the next join, as seen on a real LiveKit
RATE = 3000  # events a second of the others for which events are prepared
CONNECTIONS = 4
STORED = """
    INSERT INTO connections
        (interview_id, sid, attempt, room_sid, identity, role, joined_at, joined_order, left_at, left_order,
         leave_reason)
    SELECT '{id}', 'PA_before_' || n, 1, 'RM_loop', 'candidate-{candidate}', 'CANDIDATE',
        now() - interval '2 s' * (2000 - n), n, now() - interval '2 s' * (2000 - n) + interval '1 s', n,
        'CLIENT_INITIATED'
    FROM generate_series(1, {count}) n
"""


def measure(bench: Bench) -> Section:
    slope = {shape.__name__: _slope(shape) for shape in SHAPES}
    url = make_database(bench.postgres, "reconnects")
    try:
        pairs = [(_others(bench, url, loop=False), _others(bench, url, loop=True)) for _ in range(bench.options.rounds)]
    finally:
        drop_database(bench.postgres, "reconnects")
    return _section(slope, pairs)


def _slope(shape: Callable[[int], Facts]) -> list[float]:
    """Return the CPU time of derive() for each size: the least of several, in turn, as other work comes in waves."""
    attempts = [shape(size) for size in SIZES]
    in_turn = [[seconds_to_derive(facts) for facts in attempts] for _ in range(IN_TURN)]
    return [min(times) for times in zip(*in_turn, strict=True)]


def _others(bench: Bench, url: str, *, loop: bool) -> Load:
    """Return how the others' webhooks were answered, beside the loop or without it."""
    candidates = add_interviews(url, round(RATE * bench.options.seconds) // EVENTS + 1)
    events = events_about(candidates[1:])
    now = time.time()
    prepared = prepare((webhook_request(event, now) for event in events), bench.folder / "reconnects")
    with run_server(ours("open", name="ours"), url, bench.folder) as server:
        if not loop:
            return load(server, prepared, connections=CONNECTIONS, seconds=bench.options.seconds, once=True)
        looping = candidates[0]
        run(url, STORED.format(id=looping.interview_id, candidate=looping.candidate_id, count=SESSIONS))
        with _reconnecting(server, looping):
            return load(server, prepared, connections=CONNECTIONS, seconds=bench.options.seconds, once=True)


@contextmanager
def _reconnecting(server: RunningServer, candidate: Candidate) -> Iterator[None]:
    """Send the webhooks of a candidate that leaves and joins again, each once the one before is answered."""
    over = threading.Event()
    thread = threading.Thread(target=_reconnect, args=(server, candidate, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _reconnect(server: RunningServer, candidate: Candidate, over: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    number = 0
    while not over.wait(JOIN_TAKES):
        for event in _reload(number, candidate):
            connection.request("POST", "/webhooks/livekit", event.raw, webhook_headers(event.raw, time.time()))
            connection.getresponse().read()
        number += 1


def _reload(number: int, candidate: Candidate) -> list[Event]:
    """Return the events of a session that begins now and ends at once."""
    left = round(JOIN_TAKES * 1000)
    session = Connection(f"PA_loop_{number}", "RM_loop", Role.CANDIDATE, "", 0, left, left, "CLIENT_INITIATED")
    history = History(
        name=f"loop-{number}",
        scenario="benchmark",
        expected=Result("READY_TO_JOIN", None, None, None),
        max_duration=1800,
        connections=(session,),
        rooms=(Room("RM_loop", 0),),
    )
    events = events_of(history, place_of(candidate, round(time.time() * 1000) - left))
    return [event for event in events if event.name.startswith("participant_")]


def _section(slope: dict[str, list[float]], pairs: list[tuple[Load, Load]]) -> Section:
    ratio = statistics.median(beside.p95 / alone.p95 for alone, beside in pairs)
    alone, beside = (statistics.median(each[side].p95 for each in pairs) for side in (0, 1))
    steepest = max(later / earlier for times in slope.values() for earlier, later in pairwise(times))
    return Section(
        title="A candidate that reconnects in a loop",
        about=f"CPU time of derive() for an attempt with so many sessions, undisturbed. Then the webhooks of "
        f"others over {CONNECTIONS} connections, beside a candidate with {SESSIONS:,} sessions that reconnects every "
        f"{JOIN_TAKES:g} s.",
        header=("", *(f"{size:,} sessions" for size in SIZES)),
        rows=[[name.replace("_", " "), *map(milliseconds, times)] for name, times in slope.items()],
        goals=[
            Goal(
                "milliseconds for 4,000 sessions", max(times[-1] for times in slope.values()) * 1e3, "at most", 150, 100
            ),
            Goal("time for twice the sessions", steepest, "at most", 2.3, 2.1),
            Goal("p95 of the others' webhooks beside the loop", ratio, "at most", 1.3, 1.1),
        ],
        charts=[Chart("p95 of the others, ms", {"alone": alone * 1e3, "beside": beside * 1e3}, all_ours=True)],
        raw={"slope": slope, "pairs": [[one.as_json(), other.as_json()] for one, other in pairs]},
    )

"""Webhooks: events a second that are verified, stored and applied, compared with a receiver in Node."""

import statistics
import time
import uuid

from app.interviews.livekit_events import RECORDED
from benchmarks.interviews import Candidate, add_interviews, drop_database, fetch, make_database
from benchmarks.options import Bench
from benchmarks.results import Chart, Goal, Section, median_ratio, megabytes, microseconds, milliseconds
from benchmarks.servers import EXPRESS_WEBHOOKS, Contender, ours, run_server
from benchmarks.stories import interleaved, place_of, story, webhook_request
from benchmarks.tools import BenchmarkFailed, build_peers
from benchmarks.wrk import Load, load, prepare
from simulator.events import Event

OURS = ours("open", name="ours")
CONTENDERS = (OURS, EXPRESS_WEBHOOKS)
FASTEST = 6_000  # the highest rate, in events a second, for which events are prepared; each is sent once
EVENTS = 10  # events per interview
CONCURRENT_ROOMS = 200  # rooms, so that the 32 concurrent events are of different rooms, as with LiveKit
UNDER_WAY = 2 * 32  # events that may or may not be stored when a load ends
WARM_UP = 1.0  # seconds
TALK = 20.0  # seconds, twice
KEPT = "SELECT count(*) FROM timeline WHERE livekit_event_id IS NOT NULL"


def measure(bench: Bench) -> Section:
    """Measure both in each round, each on a fresh server with unused interviews."""
    build_peers()
    url = make_database(bench.postgres, "webhooks")
    try:
        loads: dict[str, list[Load]] = {each.name: [] for each in CONTENDERS}
        for _ in range(bench.options.rounds):
            for contender in CONTENDERS:
                loads[contender.name].append(_measure(contender, url, bench))
        return _section(loads)
    finally:
        drop_database(bench.postgres, "webhooks")


def events_about(candidates: list[Candidate]) -> list[Event]:
    """Return LiveKit's events of these interviews, all of which have just ended."""
    origin = round((time.time() - 2 * TALK - 10) * 1000)
    stories = [(story(uuid.uuid4().hex[:12], TALK), place_of(candidate, origin)) for candidate in candidates]
    return list(interleaved(stories, CONCURRENT_ROOMS))


def _measure(contender: Contender, url: str, bench: Bench) -> Load:
    wanted = round(FASTEST * (bench.options.seconds + WARM_UP))
    events = events_about(add_interviews(url, wanted // EVENTS))
    now = time.time()
    first = round(FASTEST * WARM_UP)
    warm = prepare((webhook_request(event, now) for event in events[:first]), bench.folder / "warm-up")
    measured = prepare((webhook_request(event, now) for event in events[first:]), bench.folder / "webhooks")
    before = _kept(url)
    with run_server(contender, url, bench.folder) as server:
        warmed = load(server, warm, connections=32, seconds=WARM_UP, once=True)
        found = load(server, measured, connections=32, seconds=bench.options.seconds, once=True)
    if contender is OURS:
        _check(events[: warmed.requests] + events[first : first + found.requests], _kept(url) - before)
    return found


def _kept(url: str) -> int:
    return int(fetch(url, KEPT)[0][0])


def _check(answered: list[Event], kept: int) -> None:
    """Raise BenchmarkFailed if an accepted event is not on the timeline."""
    expected = sum(event.name in RECORDED for event in answered)
    if kept < expected - UNDER_WAY:
        raise BenchmarkFailed(f"Of {expected} events that were answered {kept} are on the timeline.")


def _section(loads: dict[str, list[Load]]) -> Section:
    rates = {name: [each.rate for each in found] for name, found in loads.items()}
    ratio = median_ratio(rates[OURS.name], rates[EXPRESS_WEBHOOKS.name])
    cpu = {name: statistics.median(each.cpu for each in found) for name, found in loads.items()}
    return Section(
        title="Webhooks",
        about=f"Of each interview {EVENTS} events that LiveKit would send (room_started, three participant_joined, two "
        "track_published, three participant_left, room_finished), signed before, each sent once, over 32 connections, "
        f"{CONCURRENT_ROOMS} rooms in turn. The peer verifies, then inserts the event and updates the interview in a "
        "transaction; ours records the fact, derives the status, and writes the timeline. Nobody listens at LiveKit's "
        "address, so ours deletes no rooms meanwhile.",
        header=("", "events/s", "p50", "p99", "CPU an event", "peak memory"),
        rows=[
            [
                name,
                f"{statistics.median(rates[name]):,.0f}",
                milliseconds(statistics.median(each.p50 for each in found)),
                milliseconds(statistics.median(each.p99 for each in found)),
                microseconds(cpu[name]),
                megabytes(statistics.median(each.peak for each in found)),
            ]
            for name, found in loads.items()
        ],
        goals=[Goal("events a second against Express with WebhookReceiver", ratio, "at least", 0.8, 1.5)],
        charts=[Chart("webhooks a second", {name: statistics.median(found) for name, found in rates.items()})],
        raw={name: [each.as_json() for each in found] for name, found in loads.items()},
    )

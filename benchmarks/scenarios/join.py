"""Join: the service under each policy against its peers, at 32 connections, at 256 and at one."""

import json
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.interviews import Candidate, add_interviews, drop_database, make_database
from benchmarks.options import Bench
from benchmarks.results import Chart, Goal, Section, median_ratio, megabytes, microseconds, milliseconds
from benchmarks.servers import EXPRESS, FASTIFY, GO, NAIVE, Contender, ours, run_server
from benchmarks.tools import build_peers
from benchmarks.wrk import Load, http_request, load, prepare

JOINED = 20_000  # different interviews per load
WARM_UP = 1.0  # seconds
MANY = 256  # connections in a rush

OPEN, PHONE, INVITE = ours("open"), ours("phone"), ours("invite")
CONTENDERS = (OPEN, PHONE, INVITE, FASTIFY, EXPRESS, GO, NAIVE)
BODIES: dict[str, Callable[[Candidate], dict[str, str]]] = {
    PHONE.name: lambda candidate: {"phoneNumber": candidate.phone_number},
    INVITE.name: lambda candidate: {"invite": candidate.invite},
}

Loads = dict[str, dict[str, list[Load]]]


def measure(bench: Bench) -> Section:
    """Measure every contender in each round, each on a fresh server."""
    build_peers()
    url = make_database(bench.postgres, "joins")
    try:
        candidates = add_interviews(url, bench.options.joinable)
        loads: Loads = {each.name: {"32": [], "256": [], "1": []} for each in CONTENDERS}
        for _ in range(bench.options.rounds):
            for contender in CONTENDERS:
                _measure(contender, url, requests_of(contender, candidates, bench.folder), bench, loads[contender.name])
        return _section(loads)
    finally:
        drop_database(bench.postgres, "joins")


def requests_of(contender: Contender, candidates: Sequence[Candidate], folder: Path) -> Path:
    """Write a join for each of many interviews, with the credentials that the contender's policy requires."""
    body_of = BODIES.get(contender.name, _no_body)
    chosen = random.Random(1).sample(candidates, min(JOINED, len(candidates)))
    return prepare((join_request(each, body_of(each)) for each in chosen), folder / "joins")


def _no_body(_: Candidate) -> dict[str, str]:
    return {}


def join_request(candidate: Candidate, body: dict[str, str]) -> bytes:
    json_body = json.dumps(body).encode()
    path = f"/interviews/{candidate.interview_id}/join"
    return http_request("POST", path, {"Content-Type": "application/json"}, json_body)


def _measure(contender: Contender, url: str, requests: Path, bench: Bench, loads: dict[str, list[Load]]) -> None:
    with run_server(contender, url, bench.folder) as server:
        load(server, requests, connections=32, seconds=WARM_UP)
        loads["32"].append(load(server, requests, connections=32, seconds=bench.options.seconds))
        if contender in (OPEN, FASTIFY):
            loads["1"].append(load(server, requests, connections=1, seconds=bench.options.seconds))
            loads["256"].append(load(server, requests, connections=MANY, seconds=bench.options.seconds))


def _section(loads: Loads) -> Section:
    at_32 = {name: found["32"] for name, found in loads.items()}
    rates = {name: [each.rate for each in found] for name, found in at_32.items()}
    cpu = {name: [each.cpu for each in found] for name, found in at_32.items()}
    goals = [
        *_against_fastify(loads, rates),
        *(
            Goal(f"CPU a join against Go's: {name}", median_ratio(cpu[name], cpu[GO.name]), "at most", 2.5, 1.1)
            for name in (OPEN.name, PHONE.name, INVITE.name)
        ),
        Goal(
            "joins a second against naive FastAPI's",
            median_ratio(rates[OPEN.name], rates[NAIVE.name]),
            "at least",
            6,
            12,
        ),
    ]
    return Section(
        title="Join",
        about="32 connections (and 256, and 1: the last two columns) join 20,000 of the interviews in turn. Ours "
        "checks the policy, records the attempt, and writes its access log; the peers do one SELECT and sign a token.",
        header=("", "joins/s", "p50", "p99", "CPU a join", "peak memory", "p99 at 256", "p50 alone"),
        rows=[_row(name, found) for name, found in loads.items()],
        goals=goals,
        charts=[
            Chart("joins a second", {name: statistics.median(found) for name, found in rates.items()}),
            Chart(
                "server CPU a join, us (less is better)",
                {name: statistics.median(found) * 1e6 for name, found in cpu.items()},
            ),
        ],
        raw={
            name: {key: [each.as_json() for each in of] for key, of in found.items()} for name, found in loads.items()
        },
    )


def _against_fastify(loads: Loads, rates: dict[str, list[float]]) -> list[Goal]:
    def ratio(connections: str, percentile: str) -> float:
        mine, theirs = loads[OPEN.name][connections], loads[FASTIFY.name][connections]
        return median_ratio((m.as_json()[percentile] for m in mine), (t.as_json()[percentile] for t in theirs))

    of_rates = [
        Goal(
            f"joins a second against Fastify's: {name}",
            median_ratio(rates[name], rates[FASTIFY.name]),
            "at least",
            0.8,
            1.3,
        )
        for name in (OPEN.name, PHONE.name, INVITE.name)
    ]
    return [
        *of_rates,
        Goal(f"p99 at {MANY} connections against Fastify's", ratio("256", "p99"), "at most", 2, 1),
        Goal("p50 of a lone join against Fastify's", ratio("1", "p50"), "at most", 2, 1),
    ]


def _row(name: str, found: dict[str, list[Load]]) -> list[str]:
    def median(connections: str, figure: str) -> float:
        return statistics.median(each.as_json()[figure] for each in found[connections])

    return [
        name,
        f"{median('32', 'rate'):,.0f}",
        milliseconds(median("32", "p50")),
        milliseconds(median("32", "p99")),
        microseconds(median("32", "cpu")),
        megabytes(median("32", "peak")),
        milliseconds(median("256", "p99")) if found["256"] else "",
        milliseconds(median("1", "p50")) if found["1"] else "",
    ]

"""Lists at a million interviews: pages, filters, search and counts, compared with one status by id."""

import json
import statistics
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import asyncpg

from app.core.pagination import decode_cursor, encode_cursor
from app.core.timestamps import rfc3339
from benchmarks.dataset import BYTES_PER_ROW, DiskTooFull, check_disk, fill
from benchmarks.interviews import drop_database, fetch, make_database
from benchmarks.options import Bench, Options
from benchmarks.results import Chart, Goal, Section, median_ratio, milliseconds
from benchmarks.servers import AUTHORIZED, RunningServer, ours, run_server
from benchmarks.tools import BenchmarkFailed
from benchmarks.wrk import Load, http_request, load, prepare

SMALL = 100  # divisor of the small database's size
ROUNDS = 3  # at most, because there are many queries
PAGE = 50  # interviews, the API's default
DEEP = 1_000  # rows before the page far down the list
SAMPLE = 300  # interviews whose values are queried
BY_ID = "one status by id"
# Queries of a recruiter or a platform; each value is of another interview of the sample.
SAMPLED = """
    SELECT id, job_post_id, application_id, candidate_id, created_at, updated_at, phone_number,
        coalesce(opens_at, created_at) AS opens_at, split_part(participant_name, ' ', 1) AS first_name,
        participant_name, job_title
    FROM interviews WHERE organization_id = (SELECT id FROM organizations WHERE name = 'default')
    ORDER BY md5(id::text) LIMIT $1
"""
ROW = """
    SELECT created_at, id FROM interviews
    WHERE organization_id = (SELECT id FROM organizations WHERE name = 'default')
    ORDER BY created_at DESC, id DESC OFFSET $1 LIMIT 1
"""

Queries = dict[str, list[str]]


def measure(bench: Bench) -> Section:
    """Fill two databases, and query one server on each in turn, over one connection."""
    options = bench.options
    sizes = {"large": options.interviews, "small": max(SAMPLE, options.interviews // SMALL)}
    try:
        check_disk(options.interviews * options.timeline * BYTES_PER_ROW)
        with ExitStack() as stack:
            servers, urls = {}, {}
            for name, size in sizes.items():
                stack.callback(drop_database, bench.postgres, f"lists_{name}")
                urls[name] = make_database(bench.postgres, f"lists_{name}")
                fill(urls[name], interviews=size, timeline_rows_per_interview=options.timeline)
            for name, url in urls.items():
                # no worker: it would poll LiveKit, which does not exist, about the dataset's conversations
                contender = ours(name=f"ours {name}", RUN_WORKER="false")
                servers[name] = stack.enter_context(run_server(contender, url, bench.folder))
            return _section(_measure(servers, urls, bench), sizes)
    except DiskTooFull as error:
        raise BenchmarkFailed(f"{error} (--interviews)") from error


def _measure(servers: dict[str, RunningServer], urls: dict[str, str], bench: Bench) -> dict[str, list[Load]]:
    few = [f"/interviews/{row['id']}" for row in fetch(urls["small"], SAMPLED, SAMPLE)]
    queries = queries_of(servers["large"], urls["large"], bench.options)
    asked = {name: _prepare(bench.folder / f"list-{n}", paths) for n, (name, paths) in enumerate(queries.items())}
    small = f"{BY_ID}, in the small database"
    loads: dict[str, list[Load]] = {small: [], **{name: [] for name in queries}}
    seconds = bench.options.seconds / 2
    of_small = _prepare(bench.folder / "few", few)
    _warm_up(servers["small"], [of_small])
    _warm_up(servers["large"], asked.values())
    for _ in range(min(ROUNDS, bench.options.rounds)):
        loads[small].append(load(servers["small"], of_small, connections=1, seconds=seconds))
        for name, requests in asked.items():
            loads[name].append(load(servers["large"], requests, connections=1, seconds=seconds))
    return loads


def _prepare(file: Path, paths: Iterable[str]) -> Path:
    return prepare((http_request("GET", path, AUTHORIZED) for path in paths), file)


def _warm_up(server: RunningServer, asked: Iterable[Path]) -> None:
    """Run all queries for a second, so that caches are warm."""
    for requests in asked:
        load(server, requests, connections=1, seconds=1)


def queries_of(server: RunningServer, url: str, options: Options) -> Queries:
    """Return the queries by name: paths with the values of many interviews."""
    sample = fetch(url, SAMPLED, SAMPLE)
    deep = min(DEEP, options.interviews // PAGE // 2)
    cursor = deep_cursor(server, fetch(url, ROW, (deep - 1) * PAGE - 1)[0])
    return {
        BY_ID: [f"/interviews/{row['id']}" for row in sample],
        "first page": [_list()],
        f"page {deep:,}": [_list(cursor=cursor)],
        "oldest first": [_list(sort="createdAt")],
        "last changed first": [_list(sort="-updatedAt")],
        "longest unchanged first": [_list(sort="updatedAt")],
        "status COMPLETED": [_list(status="COMPLETED")],
        "status IN_PROGRESS": [_list(status="IN_PROGRESS")],
        "status SCHEDULED": [_list(status="SCHEDULED")],
        "status READY_TO_JOIN": [_list(status="READY_TO_JOIN")],
        "status FAILED or NO_SHOW": [_list(status=["FAILED", "NO_SHOW"])],
        "jobPostId": [_list(jobPostId=row["job_post_id"]) for row in sample],
        "jobPostId and status": [_list(jobPostId=row["job_post_id"], status="FAILED") for row in sample],
        "applicationId": [_list(applicationId=row["application_id"]) for row in sample],
        "candidateId": [_list(candidateId=row["candidate_id"]) for row in sample],
        "updatedSince": [_list(updatedSince=rfc3339(row["updated_at"])) for row in sample],
        "updatedSince, sorted by it": [_list(updatedSince=rfc3339(r["updated_at"]), sort="updatedAt") for r in sample],
        "opensAfter": [_list(opensAfter=rfc3339(row["opens_at"])) for row in sample],
        "opensBefore": [_list(opensBefore=rfc3339(row["opens_at"])) for row in sample],
        "search: a whole name": [_list(q=row["participant_name"]) for row in sample],
        "search: a first name": [_list(q=row["first_name"]) for row in sample],
        "search: a phone number": [_list(q=row["phone_number"]) for row in sample],
        "search: its last six digits": [_list(q=row["phone_number"][-6:]) for row in sample],
        "search: words of the title": [_list(q=row["job_title"][:20]) for row in sample],
        "search: finds nothing": [_list(q="zzyzx qqq")],
        "search and status": [_list(q=row["first_name"], status="FAILED") for row in sample],
        "counts": ["/interviews/summary"],
        "counts of a job post": [f"/interviews/summary?{urlencode({'jobPostId': r['job_post_id']})}" for r in sample],
        "counts by job post": ["/interviews/summary?by=jobPostId&limit=50"],
    }


def _list(**query: str | list[str]) -> str:
    return f"/interviews?{urlencode(query, doseq=True)}"


def deep_cursor(server: RunningServer, row: asyncpg.Record) -> str:
    """Return the cursor after a row, with the list's fingerprint from another page's cursor."""
    request = urllib.request.Request(server.url + _list(), headers=AUTHORIZED)
    with urllib.request.urlopen(request) as answer:
        first = json.load(answer)["nextCursor"]
    _, (_, mark) = decode_cursor(first, parts=2)
    return encode_cursor(row["created_at"], row["id"].hex, mark)


def _section(loads: dict[str, list[Load]], sizes: dict[str, int]) -> Section:
    small, by_id = next(iter(loads)), [each.p95 for each in loads[BY_ID]]
    ratios = {
        name: median_ratio([each.p95 for each in found], by_id)
        for name, found in loads.items()
        if name not in (small, BY_ID)
    }
    worst = max(ratios, key=ratios.__getitem__)
    of_sizes = median_ratio([each.p50 for each in loads[BY_ID]], [each.p50 for each in loads[small]])
    what = f"one status by id at {sizes['large']:,} interviews against {sizes['small']:,}, p50"
    return Section(
        title="Lists and status",
        about=f"{sizes['large']:,} interviews of a year with their timelines, over one connection. Pages have {PAGE} "
        "interviews; the values come from a sample. The worker runs elsewhere, as the made-up conversations have no "
        "LiveKit.",
        header=("", "p50", "p95", "p95 against one status by id"),
        rows=[
            [
                name,
                milliseconds(statistics.median(each.p50 for each in found)),
                milliseconds(statistics.median(each.p95 for each in found)),
                f"{ratios[name]:.1f} times" if name in ratios else "",
            ]
            for name, found in loads.items()
        ],
        goals=[
            Goal(what, of_sizes, "at most", 1.3, 1.1),
            Goal(f"the slowest list, {worst}: p95 against one status by id", ratios[worst], "at most", 4, 2),
        ],
        charts=[Chart("lists: p95 against one status by id, times", ratios, all_ours=True)],
        raw={name: [each.as_json() for each in found] for name, found in loads.items()},
    )

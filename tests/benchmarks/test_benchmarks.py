"""The benchmarks' own code, without the load: what they send the service takes, and what they write can be read."""

import json
import shutil
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.interviews import add_interviews, fetch, prepare_database
from benchmarks.options import Options, options_of, parser
from benchmarks.plot import draw
from benchmarks.report import goals_table, write_report
from benchmarks.results import Chart, Goal, Section, median_ratio
from benchmarks.scenarios.join import CONTENDERS, INVITE, OPEN, PHONE, requests_of
from benchmarks.scenarios.lists import queries_of
from benchmarks.scenarios.transcript import STORED, appends_to
from benchmarks.scenarios.webhooks import EVENTS, KEPT, events_about
from benchmarks.servers import AUTHORIZED, Contender, RunningServer, ours, run_server
from benchmarks.stories import webhook_request
from benchmarks.tools import BenchmarkFailed, require
from benchmarks.wrk import http_request, prepare

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks read /proc")


def send(server: RunningServer, requests: Iterable[bytes]) -> list[tuple[int, Any]]:
    """Send prepared requests one after the other on one connection; return each answer's status and JSON."""
    answers = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for request in requests:
            connection.sendall(request)
            with HTTPResponse(connection) as answer:
                answer.begin()
                answers.append((answer.status, json.loads(answer.read())))
    return answers


def read_prepared(file: Path) -> list[bytes]:
    """Read what wrk's script reads, in the same way."""
    found, rest = [], file.read_bytes()
    while rest:
        length, _, rest = rest.partition(b"\n")
        found.append(rest[: int(length)])
        assert rest[int(length) :][:1] == b"\n"
        rest = rest[int(length) + 1 :]
    return found


@linux
@pytest.mark.parametrize("contender", [OPEN, PHONE, INVITE], ids=lambda each: each.name)
def test_ours_takes_the_prepared_joins(contender: Contender, own_database: str, tmp_path: Path) -> None:
    prepare_database(own_database)
    candidates = add_interviews(own_database, 5)
    with run_server(contender, own_database, tmp_path) as server:
        answers = send(server, read_prepared(requests_of(contender, candidates, tmp_path)))
        assert server.cpu_seconds() > 0
        assert server.peak() >= server.resident() > 0
    assert [status for status, _ in answers] == [200] * 5
    assert {said["interviewId"] for _, said in answers} == {str(each.interview_id) for each in candidates}


@linux
def test_ours_takes_the_prepared_webhooks_and_believes_the_story(own_database: str, tmp_path: Path) -> None:
    prepare_database(own_database)
    candidates = add_interviews(own_database, 3)
    events = events_about(candidates)
    assert len(events) == len({event.id for event in events}) == 3 * EVENTS
    file = prepare((webhook_request(event, time.time()) for event in events), tmp_path / "webhooks")
    asked = [http_request("GET", f"/interviews/{each.interview_id}", AUTHORIZED) for each in candidates]
    with run_server(ours(), own_database, tmp_path) as server:
        answers = send(server, read_prepared(file))
        states = [(said["status"], said["endReason"]) for _, said in send(server, asked)]
    recorded = 3 * (EVENTS - 2)  # track_published moves nothing, and is not kept
    assert sorted(said["result"] for _, said in answers) == ["ignored"] * 6 + ["recorded"] * recorded
    assert fetch(own_database, KEPT)[0][0] == recorded
    assert states == [("COMPLETED", "AGENT_REPORTED")] * 3


@linux
def test_ours_takes_every_list_query(own_database: str, tmp_path: Path) -> None:
    prepare_database(own_database)
    add_interviews(own_database, 210)
    with run_server(ours(), own_database, tmp_path) as server:
        queries = queries_of(server, own_database, replace(Options(), interviews=210))
        asked = [http_request("GET", paths[0], AUTHORIZED) for paths in queries.values()]
        answers = dict(zip(queries, send(server, asked), strict=True))
    assert {status for status, _ in answers.values()} == {200}
    first, second = answers["first page"][1], answers["page 2"][1]
    assert first["nextCursor"]
    assert len(second["data"]) == 50
    assert not {each["interviewId"] for each in first["data"]} & {each["interviewId"] for each in second["data"]}


@linux
def test_ours_takes_the_lines_of_transcripts(own_database: str, tmp_path: Path) -> None:
    prepare_database(own_database)
    talking = add_interviews(own_database, 2)
    with run_server(ours(), own_database, tmp_path) as server:
        answers = send(server, read_prepared(prepare(appends_to(talking, 4), tmp_path / "appends")))
    assert answers == [(200, {"stored": 2, "position": position}) for position in (2, 2, 4, 4)]
    assert fetch(own_database, STORED)[0][0] == 8


def test_more_interviews_go_on_where_the_first_ended(own_database: str) -> None:
    prepare_database(own_database)
    numbers = [each.phone_number for count in (2, 3) for each in add_interviews(own_database, count)]
    assert sorted(numbers) == [f"96650000000{n}" for n in range(1, 6)]
    assert fetch(own_database, "SELECT count(*) FROM bench_interview JOIN interviews USING (id)")[0][0] == 5


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda program: None if program in ("wrk", "go") else "/usr/bin/it")
    with pytest.raises(BenchmarkFailed, match=r"wrk \(Debian package wrk\), go \(Debian package golang-go\)"):
        require("wrk", "node", "go")
    require("node")


def test_options() -> None:
    assert options_of(parser([]).parse_args([])) == Options()
    given = parser(["join"]).parse_args(["join", "--quick", "--seconds", "0.5", "--interviews", "7"])
    assert options_of(given) == replace(Options.quick(), seconds=0.5, interviews=7)
    assert given.scenarios == ["join"]


@pytest.mark.parametrize(
    ("goal", "result"),
    [
        (Goal("rate", 1.4, "at least", 0.8, 1.3), "met, the aim too"),
        (Goal("rate", 0.8, "at least", 0.8, 1.3), "met"),
        (Goal("rate", 0.79, "at least", 0.8, 1.3), "missed"),
        (Goal("time", 1.1, "at most", 2.5, 1.1), "met, the aim too"),
        (Goal("time", 2.0, "at most", 2.5, 1.1), "met"),
        (Goal("time", 2.6, "at most", 2.5, 1.1), "missed"),
        (Goal("lost", 0, "at most", 0, 0, ""), "met, the aim too"),
        (Goal("lost", 1, "at most", 0, 0, ""), "missed"),
    ],
)
def test_result_of_a_goal(goal: Goal, result: str) -> None:
    assert goal.result == result
    assert goals_table([goal]).splitlines()[2].endswith(f"| {result} |")


def test_a_ratio_is_that_of_one_round() -> None:
    assert median_ratio([10, 1, 6], [5, 1, 2]) == 2  # of 2, 1 and 3; that of the medians would be 3


def test_the_page_and_its_plot(tmp_path: Path) -> None:
    section = Section(
        title="Join",
        about="How.",
        header=("", "joins/s"),
        rows=[["ours, open", "1,000"], ["Go", "a|b"]],
        goals=[Goal("joins a second", 1.25, "at least", 0.8, 1.3)],
        charts=[Chart("joins a second", {"ours, open": 50.0, "Go & <co>": 100.0})],
        notes=["And more."],
    )
    machine = dict.fromkeys(("date", "cores", "memory", "system", "Python", "Node", "Go", "Postgres"), "7")
    kept = {"join": {"machine": machine, "options": Options().as_json(), "section": section.as_json()}}
    write_report(json.loads(json.dumps(kept)), tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| joins a second | at least 0.80 times | 1.30 times | 1.25 times | met |" in page
    assert "| ours, open | 1,000 |\n| Go | a/b |\n\nAnd more.\n" in page
    plot = ElementTree.fromstring((tmp_path / "benchmarks.svg").read_text())  # noqa: S314 - our own
    bars = [each for each in plot.iter("{http://www.w3.org/2000/svg}rect") if each.get("rx")]
    widths = [float(each.attrib["width"]) for each in bars]
    assert widths == [widths[1] / 2, widths[1]]
    assert bars[0].get("fill") != bars[1].get("fill")
    assert "Go & <co>" in [each.text for each in plot.iter("{http://www.w3.org/2000/svg}text")]


def test_a_plot_of_nothing() -> None:
    assert ElementTree.fromstring(draw([])).tag.endswith("svg")  # noqa: S314 - our own


def test_every_contender_has_its_name() -> None:
    assert len({each.name for each in CONTENDERS}) == len(CONTENDERS)

"""`interviews simulate` against a small deployment with known responses: what it sends, and what it reports."""

import argparse
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
import pytest
from aiohttp import web
from livekit.api import LiveKitAPI, TokenVerifier, WebhookReceiver
from livekit.protocol.room import DeleteRoomRequest

from app.cli.commands import parser
from app.cli.simulate import main
from simulator.delivery import Faults
from simulator.history import Result
from simulator.options import Options, add_arguments, options_of
from simulator.report import Comparison, Report
from simulator.run import announcement, simulate
from simulator.timing import Timing
from tests.e2e.processes import free_port

KEY, SECRET = "devkey", "a secret of thirty-two characters"
QUICK = Options(
    livekit_key=KEY,
    livekit_secret=SECRET,
    listen_port=0,
    interviews=3,
    spread=0.2,
    timing=Timing(shortest_talk=0.2, longest_talk=0.4),
    scenarios=("agent_announces_completed",),
    reconcile=-5,  # the result is read at once
    patience=0,
    drain=0.5,
)


@dataclass
class Small:
    """A deployment that uses the agent's outcome, and nothing else."""

    statuses: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    refusing: list[int] = field(default_factory=list)
    wrong: bool = False
    url: str = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/interviews", self.schedule)
        app.router.add_post("/interviews/{id}/join", self.join)
        app.router.add_get("/interviews/{id}", self.read)
        app.router.add_post("/webhooks/livekit", self.webhook)
        return app

    async def schedule(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert request.headers["Authorization"] == "Bearer ik_local"
        assert {"candidateId", "applicationId", "jobPostId", "jobTitle", "phoneNumber", "maxDuration"} == body.keys()
        interview_id = f"i{len(self.statuses)}"
        self.statuses[interview_id] = "READY_TO_JOIN"
        return web.json_response({"interviewId": interview_id}, status=201)

    async def join(self, request: web.Request) -> web.Response:
        name = f"interview-{request.match_info['id']}"
        token = jwt.encode({"sub": "candidate", "video": {"room": name}}, SECRET, algorithm="HS256")
        return web.json_response({"participantToken": token})

    async def read(self, request: web.Request) -> web.Response:
        status = self.statuses[request.match_info["id"]]
        reason = "AGENT_REPORTED" if status == "COMPLETED" and not self.wrong else None
        return web.json_response({"status": status, "endReason": reason, "startedAt": None, "endedAt": None})

    async def webhook(self, request: web.Request) -> web.Response:
        if self.refusing:
            return web.Response(status=self.refusing.pop())
        receiver = WebhookReceiver(TokenVerifier(KEY, SECRET))
        event = receiver.receive(await request.text(), request.headers["Authorization"])
        self.events.append(event.event)
        if event.participant.attributes.get("interview.outcome") == "completed":
            self.statuses[event.room.name.removeprefix("interview-")] = "COMPLETED"
        return web.json_response({})


@pytest.fixture
async def small() -> AsyncIterator[Small]:
    deployment = Small()
    async with listening(deployment.app()) as deployment.url:
        yield deployment


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.slow
async def test_a_correct_deployment(small: Small) -> None:
    report = await simulate(replace(QUICK, url=small.url))
    assert report.ok, report.text()
    assert [each.actual and each.actual.label for each in report.comparisons] == ["COMPLETED / AGENT_REPORTED"] * 3
    assert small.events.count("participant_left") >= 3
    assert "expected" in report.text()
    assert "differences" not in report.text()


@pytest.mark.slow
async def test_a_wrong_deployment(small: Small) -> None:
    small.wrong = True
    report = await simulate(replace(QUICK, url=small.url))
    assert not report.ok
    assert len(report.differences) == 3
    assert "i0 agent_announces_completed: expected COMPLETED / AGENT_REPORTED, got COMPLETED" in report.text()


@pytest.mark.slow
async def test_livekit_retries_503_and_not_401(small: Small) -> None:
    small.refusing = [503]
    report = await simulate(replace(QUICK, url=small.url, interviews=1))
    assert report.ok, report.text()
    assert report.webhooks["delivered"] == len(small.events)
    small.refusing = [401]
    report = await simulate(replace(QUICK, url=small.url, interviews=1))
    assert report.webhooks["refused"] == 1
    assert not report.ok


@pytest.mark.slow
async def test_lost_and_repeated_events_are_counted(small: Small) -> None:
    report = await simulate(replace(QUICK, url=small.url, faults=Faults(lost=1)))
    assert small.events == []
    assert report.webhooks == {"lost": report.webhooks["lost"]}
    assert not any(each.determinable for each in report.comparisons)
    report = await simulate(replace(QUICK, url=small.url, faults=Faults(repeated=1)))
    assert report.webhooks["delivered"] == 2 * report.webhooks["repeated"]


async def test_a_deployment_that_does_not_run_is_reported() -> None:
    report = await simulate(replace(QUICK, url="http://127.0.0.1:1", interviews=1))
    assert not report.ok
    assert "no connection" in report.text()


@pytest.mark.slow
async def test_a_room_deleted_by_the_deployment_causes_events(small: Small) -> None:
    """The deployment ends a conversation that the agent would continue."""
    port = free_port()

    async def delete(request: web.Request) -> web.Response:
        answer = await small.webhook(request)
        event = json.loads(await request.text())
        if event["event"] == "track_published":
            async with LiveKitAPI(f"http://127.0.0.1:{port}", KEY, SECRET) as livekit:
                await livekit.room.delete_room(DeleteRoomRequest(room=event["room"]["name"]))
        return answer

    async with deleting(small, delete) as url:
        options = replace(QUICK, url=url, interviews=1, scenarios=("talks_on",), listen_port=port, drain=2)
        report = await simulate(options)
    assert report.calls == {"livekit.RoomService/DeleteRoom": 1}
    assert small.events[-2:] == ["participant_left", "room_finished"]


@asynccontextmanager
async def deleting(small: Small, webhook: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/interviews", small.schedule)
    app.router.add_post("/interviews/{id}/join", small.join)
    app.router.add_get("/interviews/{id}", small.read)
    app.router.add_post("/webhooks/livekit", webhook)
    async with listening(app) as url:
        yield url


# The report


def comparison(expected: str, actual: str | None, *, determinable: bool = True, short: bool = False) -> Comparison:
    found = Result(actual, None, None, None) if actual else None
    return Comparison("1", "scenario", "i1", Result(expected, None, 1000, 2000), found, determinable, short)


@pytest.mark.parametrize(
    ("comparisons", "ok"),
    [
        ([comparison("COMPLETED", "COMPLETED")], True),
        ([comparison("COMPLETED", "FAILED")], False),
        ([comparison("COMPLETED", None)], False),
        ([comparison("COMPLETED", "FAILED", determinable=False)], True),
        ([comparison("COMPLETED", "IN_PROGRESS", determinable=False)], False),
        ([comparison("COMPLETED", "FAILED", short=True)] + [comparison("COMPLETED", "COMPLETED")] * 9, True),
        ([comparison("COMPLETED", "FAILED", short=True)] * 2 + [comparison("COMPLETED", "COMPLETED")] * 8, False),
        ([comparison("COMPLETED", "FAILED")] + [comparison("COMPLETED", "COMPLETED")] * 9, False),
    ],
)
def test_report_ok(comparisons: list[Comparison], ok: bool) -> None:
    assert Report(replace(QUICK, at_least=0.9), comparisons).ok == ok


# The command line


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(given)


def test_the_defaults_fit_a_local_deployment() -> None:
    assert options_of(arguments()) == Options()


def test_speed_shortens_every_wait_and_prints_the_settings() -> None:
    options = options_of(arguments("--speed", "10", "--agent-wait", "20"))
    assert (options.timing.candidate_grace, options.timing.agent_wait) == (12, 20)
    text = announcement(options)
    assert "shortened waits" in text
    assert "CANDIDATE_GRACE=12 AGENT_WAIT=20 " in text
    assert "candidate_drops_and_returns" in text


def test_too_high_a_speed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments("--speed", "100")) == 2
    assert "lower --speed" in capsys.readouterr().err


def test_the_exit_code_is_1_if_there_are_differences(capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments(
        "--url",
        "http://127.0.0.1:1",
        "--interviews",
        "1",
        "--listen",
        "127.0.0.1:0",
        "--patience",
        "0",
        "--spread",
        "0",
    )
    assert main(given) == 1
    assert "no answer" in capsys.readouterr().out


def test_the_help_begins_with_what_it_does_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("simulate", "--help")
    with pytest.raises(SystemExit) as ended:
        parser(given).parse_args(given)
    assert ended.value.code == 0
    what, example, *_ = capsys.readouterr().out.split("\n\n")
    assert what.startswith("Run interviews with known results against a deployment")
    assert example.startswith("Example: ")


@pytest.mark.parametrize("listen", ["7880x", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1"])
def test_an_invalid_address_to_listen_on_is_refused(capsys: pytest.CaptureFixture[str], listen: str) -> None:
    assert main(arguments("--listen", listen)) == 2
    assert capsys.readouterr().err == "--listen must be an address and a port, as 127.0.0.1:7880\n"


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As with a real LiveKit server at its own port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(arguments("--interviews", "1", "--listen", f"127.0.0.1:{port}")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"Can't play LiveKit at 127.0.0.1:{port}: ")
    assert error.endswith("Stop what is there, or set --listen.\n")
    assert error.count("\n") == 1


def test_it_says_how_long_it_takes() -> None:
    """The longest interview, the spread, and the time to settle."""
    assert "about 1 min" in announcement(replace(QUICK, spread=30))
    assert "about 11 min" in announcement(replace(QUICK, spread=600))


async def test_progress_is_shown_from_the_first_start_on() -> None:
    steps: list[int] = []
    options = replace(QUICK, url="http://127.0.0.1:1", spread=0)
    await simulate(options, steps.append)
    assert steps == [1] * 2 * options.interviews

"""The end-to-end tests' own tools work, with a stub in place of the service."""

import datetime
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from livekit import api

from tests.e2e import seed
from tests.e2e.agent import Agent
from tests.e2e.browser import InterviewPage
from tests.e2e.candidate import Candidate, CandidateProcess
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.livekit_server import LiveKitServer, find_or_build
from tests.e2e.processes import ProcessFailed, free_port, http_status
from tests.e2e.service import Service, webhook_url
from tests.e2e.toolchain import Missing, missing

pytestmark = pytest.mark.e2e

METADATA = {
    "candidateId": "59faa4e3-4814-41ef-b830-a58c7ba7ae25",
    "participantName": "Candidate",
    "phoneNumber": "966509876543",
    "jobTitle": "Senior Backend Developer - Fintech",
    "interviewId": "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9",
    "applicationId": "1e526d64-f4e5-4353-a69f-9642959e8236",
    "jobPostId": "306bfccd-5030-46bb-b468-e5027a073b4a",
    "companyName": "MENA Bank",
    "instructions": "Welcome to your interview for Senior Backend Developer - Fintech at MENA Bank. "
    "Please speak clearly and answer all questions to the best of your ability.",
    "maxDuration": 1800,
    "status": "READY_TO_JOIN",
}

STUB_SERVICE = """
import http.server, os, signal

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

signal.signal(signal.SIGTERM, lambda *_: exit(0))
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


class WebhookStub:
    """Receives LiveKit's webhooks and checks their signatures."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, str]] = []  # body, Authorization
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                stub.deliveries.append((body, self.headers["Authorization"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def events(self, livekit: LiveKitServer, room: str) -> list[api.WebhookEvent]:
        receiver = api.WebhookReceiver(api.TokenVerifier(livekit.api_key, livekit.api_secret))
        return [
            receiver.receive(body, signature)
            for body, signature in list(self.deliveries)
            if json.loads(body).get("room", {}).get("name") == room
        ]


@dataclass(frozen=True)
class Equipment:
    livekit: LiveKitServer
    webhooks: WebhookStub

    def token(self, room: str, identity: str = "candidate", *, may_update_metadata: bool = False) -> str:
        """Return a candidate's token with the metadata; its room ends a second after the last participant left."""
        grants = api.VideoGrants(
            room_join=True,
            room=room,
            can_publish=True,
            can_subscribe=True,
            can_publish_data=True,
            can_update_own_metadata=may_update_metadata,
        )
        return (
            api.AccessToken(self.livekit.api_key, self.livekit.api_secret)
            .with_identity(identity)
            .with_ttl(datetime.timedelta(minutes=10))
            .with_metadata(json.dumps(METADATA))
            .with_grants(grants)
            .with_room_config(api.RoomConfiguration(departure_timeout=1))
            .to_jwt()
        )

    def join_response(self, token: str) -> dict[str, object]:
        return {"serverUrl": self.livekit.ws_url, "participantToken": token, **METADATA}

    def seen(self, room: str) -> list[tuple[str, str]]:
        """Return event and identity of this room's webhooks, without those of tracks."""
        events = self.webhooks.events(self.livekit, room)
        return [(one.event, one.participant.identity) for one in events if not one.event.startswith("track_")]


@pytest.fixture(scope="module")
def equipment(livekit_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Equipment]:
    webhooks = WebhookStub()
    with webhooks.server:
        thread = threading.Thread(target=webhooks.server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        livekit = LiveKitServer(
            livekit_binary,
            tmp_path_factory.mktemp("equipment"),
            webhook_urls=[webhook_url(webhooks.server.server_port)],
        )
        try:
            livekit.start()
            yield Equipment(livekit, webhooks)
        except Missing as reason:
            missing(reason)
        finally:
            livekit.stop()
            webhooks.server.shutdown()
            thread.join()


@pytest.fixture
async def room(equipment: Equipment) -> AsyncIterator[str]:
    """A name for this test's room, which is deleted at the end."""
    name = f"room-{uuid4()}"
    yield name
    livekit = equipment.livekit
    async with api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret) as client:
        try:
            await client.room.delete_room(api.DeleteRoomRequest(room=name))
        except api.TwirpError as error:
            if error.code != api.TwirpErrorCode.NOT_FOUND:
                raise


async def test_agent_sees_the_metadata_the_moment_the_candidate_joins(
    equipment: Equipment, room: str, join: Join
) -> None:
    agent = Agent(equipment.livekit, room)
    printed = agent.run_seed_handler()
    await join(agent)

    await join(Candidate(equipment.livekit.ws_url, equipment.token(room)))

    arrival = await eventually(lambda: agent.arrival("candidate"))
    assert json.loads(arrival.metadata) == METADATA
    assert printed == [
        "Candidate Candidate joined for Senior Backend Developer - Fintech at MENA Bank",
        f"Interview ID: {METADATA['interviewId']}",
        f"Instructions: {METADATA['instructions']}",
    ]


async def test_agent_hears_the_candidate_and_the_candidate_the_agent(
    equipment: Equipment, room: str, join: Join
) -> None:
    agent = await join(Agent(equipment.livekit, room))
    candidate = await join(Candidate(equipment.livekit.ws_url, equipment.token(room)))
    await agent.speak()

    await eventually(lambda: agent.hears("candidate"))
    await eventually(lambda: agent.identity in candidate.room.remote_participants)
    tracks = candidate.room.remote_participants[agent.identity].track_publications
    await eventually(lambda: [one for one in tracks.values() if one.track is not None])


async def test_webhooks_of_a_session_arrive_in_order(equipment: Equipment, room: str, join: Join) -> None:
    candidate = await join(Candidate(equipment.livekit.ws_url, equipment.token(room)))
    await eventually(lambda: ("participant_joined", "candidate") in equipment.seen(room))
    await candidate.leave()

    await eventually(lambda: ("room_finished", "") in equipment.seen(room))
    assert equipment.seen(room) == [
        ("room_started", ""),
        ("participant_joined", "candidate"),
        ("participant_left", "candidate"),
        ("room_finished", ""),
    ]
    left = equipment.webhooks.events(equipment.livekit, room)[-2].participant
    assert api.DisconnectReason.Name(left.disconnect_reason) == "CLIENT_INITIATED"


async def test_agent_announces_its_outcome_with_its_leave(equipment: Equipment, room: str, join: Join) -> None:
    agent = await join(Agent(equipment.livekit, room, departure_timeout=1))
    await agent.announce("completed")
    await agent.leave()

    await eventually(lambda: ("participant_left", agent.identity) in equipment.seen(room))
    (left,) = [one for one in equipment.webhooks.events(equipment.livekit, room) if one.event == "participant_left"]
    assert left.participant.kind == api.ParticipantInfo.AGENT
    assert dict(left.participant.attributes)["interview.outcome"] == "completed"


async def test_candidate_process_joins_and_leaves(equipment: Equipment, room: str, join: Join, tmp_path: Path) -> None:
    agent = await join(Agent(equipment.livekit, room))
    log = tmp_path / "candidate.log"
    candidate = await join(CandidateProcess(equipment.livekit.ws_url, equipment.token(room), log=log))
    await eventually(lambda: agent.hears("candidate"))
    await candidate.leave()

    await eventually(lambda: "candidate" in agent.departures)
    assert "left: CLIENT_INITIATED" in log.read_text()


async def test_agent_learns_that_the_room_was_deleted(equipment: Equipment, room: str, join: Join) -> None:
    agent = await join(Agent(equipment.livekit, room))
    livekit = equipment.livekit
    async with api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret) as client:
        await client.room.delete_room(api.DeleteRoomRequest(room=room))

    assert await eventually(lambda: agent.disconnect_reason) == "ROOM_DELETED"


@pytest.mark.slow
async def test_candidate_process_vanishes(equipment: Equipment, room: str, join: Join, tmp_path: Path) -> None:
    agent = await join(Agent(equipment.livekit, room))
    candidate = CandidateProcess(equipment.livekit.ws_url, equipment.token(room), log=tmp_path / "candidate.log")
    await join(candidate)
    await eventually(lambda: agent.arrival("candidate"))
    candidate.vanish()

    await eventually(lambda: ("participant_left", "candidate") in equipment.seen(room))
    (left,) = [one for one in equipment.webhooks.events(equipment.livekit, room) if one.event == "participant_left"]
    assert api.DisconnectReason.Name(left.participant.disconnect_reason) == "CONNECTION_TIMEOUT"


async def test_page_runs_the_seeds_function_and_the_agent_hears_its_microphone(
    equipment: Equipment, room: str, join: Join, page: InterviewPage
) -> None:
    agent = await join(Agent(equipment.livekit, room))
    token = equipment.token(room, may_update_metadata=True)

    await page.start(equipment.join_response(token), str(METADATA["phoneNumber"]))

    state = await page.state()
    assert state["error"] is None
    assert state["isCallActive"]
    assert state["statuses"][:3] == ["ready", "connecting", "waiting"]  # three seconds later it is active
    assert state["consoleErrors"] == []
    await eventually(lambda: agent.hears("candidate"))
    arrival = await eventually(lambda: agent.arrival("candidate"))
    assert json.loads(arrival.metadata) == METADATA
    await page.leave()
    await eventually(lambda: "candidate" in agent.departures)
    assert (await page.state())["disconnectReason"] == "CLIENT_INITIATED"


async def test_page_shows_an_error(equipment: Equipment, room: str, page: InterviewPage) -> None:
    await page.start({**equipment.join_response("no token"), "status": "READY_TO_JOIN"})

    state = await page.state()
    assert state["error"] == "Failed to connect to interview"
    assert state["statuses"] == ["ready", "connecting", "ready"]
    assert state["consoleErrors"]


def test_server_comes_back_on_the_same_ports(livekit_binary: Path, tmp_path: Path) -> None:
    livekit = LiveKitServer(livekit_binary, tmp_path, webhook_urls=[])
    try:
        livekit.start()
        port = int(livekit.http_url.rpartition(":")[2])
        livekit.kill()
        assert http_status(port, "/") is None
        livekit.start()
        assert http_status(port, "/") == 200
        livekit.stop()
        assert not livekit.is_running
        assert http_status(port, "/") is None
    except Missing as reason:
        missing(reason)
    finally:
        livekit.stop()


def test_service_comes_back_on_the_same_port(equipment: Equipment, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "cli.py").write_text(STUB_SERVICE)  # first on its path: the service runs in this folder
    service = Service(tmp_path, port=free_port(), database_url="none", livekit=equipment.livekit)
    try:
        service.start()
        service.kill()
        assert http_status(service.port, "/health/ready") is None
        service.start()
        assert http_status(service.port, "/health/ready") == 200
        assert service.stop() == 0
        assert service.stop() is None
        assert http_status(service.port, "/health/ready") is None
    finally:
        service.kill()


def test_service_that_ends_at_once_shows_its_log(equipment: Equipment, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "cli.py").write_text("raise SystemExit('the database does not answer')")
    service = Service(tmp_path, port=free_port(), database_url="none", livekit=equipment.livekit)
    with pytest.raises(ProcessFailed, match="the database does not answer"):
        service.start()
    assert not service.is_running


def test_livekit_server_may_be_named(livekit_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_SERVER", str(livekit_binary))
    assert find_or_build() == livekit_binary.resolve()
    monkeypatch.setenv("LIVEKIT_SERVER", "/nowhere")
    with pytest.raises(Missing, match="LIVEKIT_SERVER names /nowhere"):
        find_or_build()


def test_livekit_server_is_missing_without_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIVEKIT_SERVER", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="no Go to build it"):
        find_or_build()


def test_seed_is_word_for_word() -> None:
    if not seed.ORIGINAL.exists():
        pytest.skip(f"{seed.ORIGINAL} is not beside this checkout")
    assert seed.frontend_function() == seed.original_code("typescript")
    assert seed.original_code("python") == seed.AGENT_HANDLER

"""A room, a job and a service that the tests control. tests/clients of the repository has the real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

INTERVIEW_ID = "c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"
METADATA: dict[str, Any] = {
    "candidateId": "candidate",
    "participantName": "نورة القحطاني",
    "phoneNumber": "966509876543",
    "jobTitle": "Senior Backend Developer - Fintech",
    "interviewId": INTERVIEW_ID,
    "applicationId": "application",
    "jobPostId": "post",
    "companyName": "MENA Bank",
    "instructions": "Welcome.",
    "maxDuration": 1800,
    "status": "READY_TO_JOIN",
}


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; pytest's own time limit ends a wait for something that never comes."""
    while not condition():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0.005)


@dataclass
class Answer:
    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False  # the connection is closed without an answer, after the request was read


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Service:
    """An HTTP server with scripted answers: one after the other for a call, the last one from then on."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, list[Answer]] = {
            "context": [Answer(body={"context": None})],
            "checkpoint": [Answer(404, {"code": "no_checkpoint", "detail": "None was stored."})],
            "transcript": [Answer()],
            "complete": [Answer()],
        }
        self.url = ""

    def calls(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.path.endswith(name)]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request = await _read(head, reader)
                self.requests.append(request)
                answers = self.answers[request.path.rpartition("/")[2]]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer.is_cut:
                    break
                writer.write(_response(answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):  # the client has closed the connection
            pass
        finally:
            writer.close()


async def _read(head: bytes, reader: asyncio.StreamReader) -> Request:
    first, *lines = head.decode().rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(body) if body else None)


def _response(answer: Answer) -> bytes:
    body = answer.body.encode() if isinstance(answer.body, str) else json.dumps(answer.body).encode()
    headers = {"Content-Length": str(len(body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} status", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    server = await asyncio.start_server(service.handle, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield service
    server.close()


class Participant:
    def __init__(self, identity: str, metadata: str = "", kind: int = 0) -> None:
        self.identity = identity
        self.metadata = metadata
        self.kind = kind
        self.disconnect_reason: int | None = None
        self.attributes: dict[str, str] = {}

    async def set_attributes(self, attributes: dict[str, str]) -> None:
        self.attributes.update(attributes)


class Room:
    """The parts of livekit.rtc.Room that the package uses."""

    def __init__(self) -> None:
        self.name = f"interview-{INTERVIEW_ID}"
        self.local_participant = Participant("agent-1")
        self.remote_participants: dict[str, Participant] = {}
        self.is_open = True
        self._handlers: dict[str, list[Callable[..., None]]] = {}

    def on(self, event: str, handler: Callable[..., None]) -> None:
        self._handlers.setdefault(event, []).append(handler)

    def off(self, event: str, handler: Callable[..., None]) -> None:
        self._handlers[event].remove(handler)

    def isconnected(self) -> bool:
        return self.is_open

    def emit(self, event: str, *args: Any) -> None:
        for handler in list(self._handlers.get(event, [])):
            handler(*args)

    def join(self, identity: str = "candidate-1", *, kind: int = 0, **metadata: Any) -> Participant:
        participant = Participant(identity, json.dumps({**METADATA, **metadata}), kind)
        self.remote_participants[identity] = participant
        self.emit("participant_connected", participant)
        return participant

    def leave(self, identity: str = "candidate-1", *, reason: int = 1) -> None:
        participant = self.remote_participants.pop(identity)
        participant.disconnect_reason = reason
        self.emit("participant_disconnected", participant)

    def close(self) -> None:
        self.is_open = False
        self.emit("disconnected", 0)

    def announce(self, seconds: int, sender: Participant | None = None) -> None:
        data = json.dumps({"secondsLeft": seconds}).encode()
        self.emit("data_received", SimpleNamespace(topic="interview.time", participant=sender, data=data))


class Job:
    """The parts of livekit.agents.JobContext that the package uses."""

    def __init__(self) -> None:
        self.room = Room()
        self.proc = SimpleNamespace(userdata={})
        self.is_shut_down = False
        self.callbacks: list[Callable[[], Any]] = []

    async def connect(self) -> None:
        pass

    def shutdown(self, reason: str = "") -> None:
        self.is_shut_down = True

    def add_shutdown_callback(self, callback: Callable[[], Any]) -> None:
        self.callbacks.append(callback)


@pytest.fixture
async def job() -> AsyncIterator[Any]:
    job = Job()
    yield job
    for callback in job.callbacks:
        await callback()

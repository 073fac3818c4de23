"""The stream over real connections, of services that run as operators run them."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_cli import RECRUITER, WITHIN, Service, services
from tests.e2e.conditions import eventually
from tests.interview_driver import NEW

Serve = Callable[[], Service]


@pytest.fixture
def serve(tmp_path: Path, own_database: str) -> Iterator[Serve]:
    """Start services on one database."""
    with services(tmp_path) as make:
        yield lambda: make(DATABASE_URL=own_database).start_and_wait()


class StreamResponse:
    """The stream's bytes as they come. read() raises IncompleteRead where the answer was cut instead of ended."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def event(self) -> dict[str, str]:
        """Return the fields of the next event, comments are passed over; at the end none."""
        fields: dict[str, str] = {}
        while line := self._answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif fields:
                break
        return fields

    def rest(self) -> bytes:
        return self._answer.read()


@contextmanager
def streaming(service: Service, **headers: str) -> Iterator[StreamResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=WITHIN)
    connection.request("GET", "/interviews/stream", headers={**RECRUITER, **headers})
    try:
        yield StreamResponse(connection.getresponse())
    finally:
        connection.close()


def schedule(service: Service) -> str:
    answer = httpx.post(f"{service.url}/interviews", headers=RECRUITER, json=NEW, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["interviewId"])


def interview_of(event: dict[str, str]) -> Any:
    return json.loads(event["data"])["data"]["interviewId"]


def metric(service: Service, name: str) -> float:
    lines = httpx.get(f"{service.url}/metrics", timeout=30).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.slow
def test_processes_stream_each_others_changes_and_resume_each_others_streams(serve: Serve) -> None:
    one, two = serve(), serve()
    with streaming(one) as here, streaming(two) as there:
        assert here.event()["event"] == there.event()["event"] == "ready"
        first = schedule(one)
        event = here.event()
        assert interview_of(event) == interview_of(there.event()) == first
        second = schedule(two)
        assert interview_of(here.event()) == interview_of(there.event()) == second
    with streaming(two, **{"Last-Event-ID": event["id"]}) as there:
        assert there.event()["event"] == "ready"
        assert interview_of(there.event()) == second


@pytest.mark.slow
async def test_a_disconnected_client_is_noticed(serve: Serve) -> None:
    service = serve()
    with streaming(service) as answer:
        answer.event()
        assert metric(service, "interviews_stream_listeners") == 1
    await eventually(lambda: metric(service, "interviews_stream_listeners") == 0)


@pytest.mark.slow
def test_a_stopped_service_ends_its_streams_at_once(serve: Serve) -> None:
    service = serve()
    with streaming(service) as one, streaming(service) as other:
        for answer in (one, other):
            answer.event()
        service.stop()
        assert one.rest() == other.rest() == b""  # and no IncompleteRead
    assert "timeout graceful shutdown exceeded" not in service.output
    assert "ERROR" not in service.output

"""The stream over real connections: services of their own, as operators run and stop them."""

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


class Answer:
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
def listening(service: Service, **headers: str) -> Iterator[Answer]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=WITHIN)
    connection.request("GET", "/interviews/stream", headers={**RECRUITER, **headers})
    try:
        yield Answer(connection.getresponse())
    finally:
        connection.close()


def schedule(service: Service) -> str:
    answer = httpx.post(f"{service.url}/interviews", headers=RECRUITER, json=NEW, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["interviewId"])


def told(event: dict[str, str]) -> Any:
    return json.loads(event["data"])["data"]["interviewId"]


def metric(service: Service, name: str) -> float:
    lines = httpx.get(f"{service.url}/metrics", timeout=30).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.mark.slow
def test_what_one_process_changes_the_other_tells_and_either_goes_on_where_the_other_stopped(serve: Serve) -> None:
    one, two = serve(), serve()
    with listening(one) as here, listening(two) as there:
        assert here.event()["event"] == there.event()["event"] == "ready"
        first = schedule(one)
        event = here.event()
        assert told(event) == told(there.event()) == first
        second = schedule(two)
        assert told(here.event()) == told(there.event()) == second
    with listening(two, **{"Last-Event-ID": event["id"]}) as there:
        assert there.event()["event"] == "ready"
        assert told(there.event()) == second


@pytest.mark.slow
async def test_a_client_that_goes_away_is_noticed(serve: Serve) -> None:
    service = serve()
    with listening(service) as answer:
        answer.event()
        assert metric(service, "interviews_stream_listeners") == 1
    await eventually(lambda: metric(service, "interviews_stream_listeners") == 0)


@pytest.mark.slow
def test_a_service_that_is_stopped_ends_its_streams_and_does_not_wait_for_them(serve: Serve) -> None:
    service = serve()
    with listening(service) as one, listening(service) as other:
        for answer in (one, other):
            answer.event()
        service.stop()
        assert one.rest() == other.rest() == b""  # and no IncompleteRead
    assert "timeout graceful shutdown exceeded" not in service.output
    assert "ERROR" not in service.output

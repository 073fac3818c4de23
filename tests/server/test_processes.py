"""`serve --workers`: several processes on one port, which operators start, kill and stop."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.interviews.demo import DEMO_ID
from tests.cli.test_cli import WITHIN, Service, execute, services
from tests.conftest import run_now
from tests.e2e.conditions import eventually
from tests.e2e.processes import Process, clean_environment, http_status
from tests.stream.test_stream_service import metric, streaming

Serve = Callable[..., Service]

CANT_START = """
import logging, os, socket, sys
from app.server.processes import fork_workers
logging.basicConfig(format="%(message)s")
if fork_workers(1, socket.create_server(("127.0.0.1", 0)), stop_timeout=5, on_exit=lambda pid: None) is not None:
    sys.exit(3)
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services with several processes."""
    with services(tmp_path) as make:
        yield lambda *arguments, **environment: make(*arguments, **environment).start_and_wait()


def started(service: Service) -> list[int]:
    """Return the ids of all server processes that were ever started."""
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", service.output)]


def answering(service: Service) -> set[int]:
    """Return the ids of the processes that have handled a request."""
    return {int(pid) for pid in re.findall(r"(\d+) INFO app.api.middleware", service.output)}


def join(service: Service) -> None:
    """Join the demo interview on a new connection, with retries if a process is killed."""
    for again in (True, False):
        try:
            answer = httpx.post(f"{service.url}/interviews/{DEMO_ID}/join", timeout=30)
        except httpx.TransportError:
            assert again
        else:
            assert answer.status_code == 200, answer.text
            return


def join_until(service: Service, done: Callable[[], bool]) -> None:
    service.wait_until(lambda: join(service) or done(), within=WITHIN)  # type: ignore[func-returns-value]


def test_joins_go_on_while_a_process_is_killed_and_replaced(serve: Serve, own_database: str) -> None:
    ours = serve("--workers", "3", DATABASE_URL=own_database, WORKERS="2", DATABASE_POOL_SIZE="2")
    join_until(ours, lambda: len(started(ours)) == 3 and answering(ours) >= set(started(ours)))
    killed = started(ours)[0]

    os.kill(killed, signal.SIGKILL)
    join_until(ours, lambda: len(started(ours)) == 4 and started(ours)[3] in answering(ours))

    assert f"serving process {killed} was killed by SIGKILL; it is replaced in" in ours.output
    assert ours.output.count(str(DEMO_ID) + "/join\n") == 1  # greeted once
    names = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE "
    assert execute(own_database, names + "'interviews'") <= 3 * 2
    ours.stop()
    run_now(eventually(lambda: execute(own_database, names + "'interviews%'") == 0))


@pytest.mark.parametrize("sent_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_processes_and_postgres(serve: Serve, sent_signal: signal.Signals) -> None:
    ours = serve(WORKERS="2")
    with streaming(ours) as stream:
        stream.event()
        ours.send(sent_signal)
        assert ours.wait(WITHIN) == 0, ours.log_tail()
        stream.rest()  # ended regularly
    assert ours.output.count("Finished server process") == 2
    assert "killed" not in ours.output
    assert not (ours.cwd / ".data" / "postgres" / "postmaster.pid").exists()


def test_a_killed_parent_leaves_neither_processes_nor_postgres(serve: Serve) -> None:
    ours = serve(WORKERS="2")
    join(ours)
    postmaster = ours.cwd / ".data" / "postgres" / "postmaster.pid"
    assert postmaster.exists()

    ours.kill()

    def is_over() -> bool:
        return http_status(ours.port, "/health/live") is None and not postmaster.exists()

    run_now(eventually(is_over, within=WITHIN))
    assert ours.output.count("the parent process died") == 2


def test_metrics_cover_all_processes(serve: Serve, own_database: str) -> None:
    ours = serve(WORKERS="3", DATABASE_URL=own_database)
    with streaming(ours) as stream:
        stream.event()
        figures: list[float] = []

        def all_have_answered() -> bool:
            figures.append(metric(ours, "interviews_stream_listeners"))
            return answering(ours) >= set(started(ours))

        ours.wait_until(all_have_answered, within=WITHIN)
        assert set(figures) == {1}
        for pid in started(ours):
            os.kill(pid, signal.SIGKILL)
        ours.wait_until(lambda: http_status(ours.port, "/health/live") == 200, within=WITHIN)
        ours.wait_until(lambda: len(started(ours)) == 6, within=WITHIN)
        assert metric(ours, "interviews_stream_listeners") == 0


def test_a_process_that_cannot_start_is_restarted_with_backoff(tmp_path: Path) -> None:
    parent = Process([sys.executable, "-c", CANT_START], env=clean_environment(), cwd=tmp_path, log=tmp_path / "log")
    parent.start()
    try:
        parent.wait_until(lambda: parent.output.count("ended with exit code 3") >= 3, within=WITHIN)
        assert re.findall(r"in (\S+) s", parent.output)[:3] == ["0.5", "1", "2"]
    finally:
        parent.send(signal.SIGTERM)
    assert parent.wait(WITHIN) == 0

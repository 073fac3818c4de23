"""`interviews doctor` with a real service and a real LiveKit server, healthy and broken."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.livekit_server import LiveKitServer
from tests.e2e.outages import OwnStack, fetch
from tests.e2e.platform import Platform
from tests.e2e.processes import free_port
from tests.e2e.service import Service
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e

NO_AUTO_CREATE = {
    "seen": "LiveKit creates no room for a candidate: room.auto_create is false",
    "todo": "In LiveKit's configuration remove room.auto_create, or set it to true. Until then each candidate gets a "
    "token from this service and a 404 from LiveKit.",
}
WRONG = "wrong-secret-that-is-long-enough-for-livekit"


@dataclass(frozen=True)
class DoctorResult:
    """The output and the exit code of `interviews doctor --json`."""

    code: int
    ok: bool
    states: dict[str, str]
    findings: list[dict[str, Any]]

    def of(self, what: str) -> dict[str, Any]:
        return next(each for each in self.findings if each["what"] == what)


def run(service: Service, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "app.cli", "doctor", *arguments],
        env={**service.env, **changed},
        cwd=service.log.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def doctor(service: Service, **changed: str) -> DoctorResult:
    done = run(service, "--json", **changed)
    assert "Traceback" not in done.stderr, done.stderr
    result = json.loads(done.stdout)
    states = {each["what"]: each["state"] for each in result["findings"]}
    return DoctorResult(done.returncode, result["ok"], states, result["findings"])


async def test_a_healthy_deployment(stack: Stack, platform: Platform) -> None:
    await platform.schedule(instructions="x" * 5000)
    result = doctor(stack.service)
    assert (result.code, result.ok) == (0, True), result
    assert set(result.states) == {
        "kind of database", "database", "clock of the database", "migrations", "bootstrap key", "token size",
        "clock of LiveKit", "LiveKit and its keys", "joining", "webhook",
    }  # fmt: skip
    assert result.of("token size")["state"] == "warn"
    assert {state for what, state in result.states.items() if what != "token size"} == {"ok"}
    assert await fetch(stack, "SELECT count(*) FROM probes") == 0
    assert await fetch(stack, "SELECT count(*) FROM timeline WHERE detail::text LIKE '%doctor%'") == 0
    shown = run(stack.service)
    assert shown.returncode == 0
    assert "ok     webhook                received and verified in" in shown.stdout


@pytest.mark.slow
def test_each_fault_is_reported(stack: Stack) -> None:
    service = stack.service
    elsewhere = f"127.0.0.1:{free_port()}"

    result = doctor(service, LIVEKIT_API_SECRET=WRONG)
    assert (result.code, result.ok) == (1, False)
    assert "Compare LIVEKIT_API_KEY" in result.of("LiveKit and its keys")["todo"]
    assert result.states["webhook"] == "fault"

    result = doctor(service, LIVEKIT_API_URL=f"http://{elsewhere}")
    assert (result.states["clock of LiveKit"], result.states["LiveKit and its keys"]) == ("fault", "fault")

    result = doctor(service, DATABASE_URL=f"postgresql://u:hush@{elsewhere}/d")
    assert (result.code, result.states["database"], result.states["LiveKit and its keys"]) == (1, "fault", "ok")
    assert "hush" not in str(result)

    result = doctor(service, BOOTSTRAP_API_KEY="ik_another")
    assert (result.code, result.states["bootstrap key"]) == (0, "warn")


def test_a_livekit_that_creates_no_rooms(livekit_binary: Path, stack: Stack, tmp_path: Path) -> None:
    """With room.auto_create: false join answers 200, and the client gets a 404 from LiveKit."""
    livekit = LiveKitServer(livekit_binary, tmp_path, webhook_urls=stack.livekit.webhook_urls)
    livekit.api_secret, livekit.room = stack.livekit.api_secret, {"auto_create": False}
    livekit.start()
    try:
        result = doctor(stack.service, LIVEKIT_API_URL=livekit.http_url)
        assert (result.code, result.of("joining")) == (1, {"what": "joining", "state": "fault", **NO_AUTO_CREATE})
        assert {state for what, state in result.states.items() if what not in ("joining", "token size")} == {"ok"}
    finally:
        livekit.stop()


@pytest.mark.slow
async def test_a_webhook_that_does_not_arrive(own_stack: OwnStack) -> None:
    with own_stack() as stack:
        stack.service.stop()
        result = doctor(stack.service)
        stack.service.start()
        assert (result.code, result.states["webhook"]) == (1, "fault")
        assert "webhook.urls" in result.of("webhook")["todo"]
        assert {state for what, state in result.states.items() if what != "webhook"} == {"ok"}
        assert await fetch(stack, "SELECT count(*) FROM probes") == 0

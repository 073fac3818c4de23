"""The real service with webhooks that are repeated, late and lost. It is killed during the simulation.

The quick sizes run in `make test-slow`; those of the `soak` tests are run by hand, by `make soak`.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from simulator.delivery import Faults
from simulator.options import Options
from simulator.report import Report
from simulator.run import simulate
from simulator.timing import Timing
from tests.e2e.processes import Process, clean_environment, free_port, http_status

SPEED = 4
TIMING = replace(Timing().faster(SPEED), candidate_grace=30, agent_wait=23, token_wait=30, candidate_waited=8)
RECONCILE = 5  # seconds
SECRET = "the simulated LiveKit's secret, long enough"  # noqa: S105 - of the tests alone
MAX_DELAY = 30 / SPEED  # seconds; shortened like the waits, or webhooks would arrive long after the grace
BAD_NETWORK = Faults(repeated=0.2, max_delay=MAX_DELAY)
LOSING = Faults(lost=0.3, repeated=0.2, max_delay=MAX_DELAY)


@dataclass(frozen=True)
class Deployment:
    """A service with the waits of TIMING, which calls a LiveKit on livekit_port."""

    port: int
    livekit_port: int
    process: Process
    env: dict[str, str]

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(lambda: http_status(self.port, "/health/ready") == 200, within=60)

    def options(self, faults: Faults, *, interviews: int, seed: int, spread: float) -> Options:
        return Options(
            url=f"http://127.0.0.1:{self.port}",
            livekit_key="simulated",
            livekit_secret=SECRET,
            listen_port=self.livekit_port,
            interviews=interviews,
            spread=spread,
            seed=seed,
            faults=faults,
            timing=TIMING,
            reconcile=RECONCILE,
            # Interviews whose connections were longer than the delays must all be correct. Of the others some can't be:
            # LiveKit's 20 s to detect a timeout are not shortened, and may end after a deadline.
            at_least=0.95 if faults.lost else 0.99,
        )

    def audit(self) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", "audit"], env=self.env, capture_output=True, text=True, check=False
        )
        return done.stdout


@pytest.fixture
def deployment(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Deployment]:
    with _deployment(new_database(), tmp_path) as running:
        yield running


@contextmanager
def _deployment(database_url: str, folder: Path) -> Iterator[Deployment]:
    port, livekit_port = free_port(), free_port()
    env = clean_environment(
        DATABASE_URL=database_url,
        PORT=str(port),
        JOIN_POLICY="open",
        LIVEKIT_API_URL=f"http://127.0.0.1:{livekit_port}",
        LIVEKIT_API_KEY="simulated",
        LIVEKIT_API_SECRET=SECRET,
        CANDIDATE_GRACE=str(int(TIMING.candidate_grace)),
        AGENT_WAIT=str(int(TIMING.agent_wait)),
        TOKEN_WAIT=str(int(TIMING.token_wait)),
        CANDIDATE_WAITED=str(int(TIMING.candidate_waited)),
        GOODBYE="3",
        RECONCILE_EVERY=str(RECONCILE),
    )
    process = Process([sys.executable, "-m", "app.cli", "serve"], env=env, cwd=folder, log=folder / "service.log")
    deployment = Deployment(port, livekit_port, process, env)
    try:
        deployment.start()
        yield deployment
    finally:
        process.kill()


async def run(deployment: Deployment, options: Options, *, kills: int) -> Report:
    """Simulate, kill the service with SIGKILL while it is busiest, and restart it at once."""
    simulating = asyncio.create_task(simulate(options))
    for _ in range(kills):
        await asyncio.wait([simulating], timeout=options.spread / 2 + options.timing.candidate_grace)
        await asyncio.to_thread(deployment.process.kill)
        await asyncio.to_thread(deployment.start)
    return await simulating


def check(deployment: Deployment, report: Report) -> None:
    sys.stdout.write(report.text())
    assert report.ok, report.text()
    assert "\n0 differences\n" in f"\n{deployment.audit()}"


@pytest.mark.slow
async def test_late_and_repeated_webhooks_and_two_kills(deployment: Deployment) -> None:
    options = deployment.options(BAD_NETWORK, interviews=150, seed=1, spread=60)
    check(deployment, await run(deployment, options, kills=2))


@pytest.mark.slow
async def test_a_third_of_the_webhooks_is_lost(deployment: Deployment) -> None:
    options = deployment.options(LOSING, interviews=150, seed=1, spread=60)
    check(deployment, await run(deployment, options, kills=0))


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("faults", "kills"), [(BAD_NETWORK, 2), (LOSING, 0)], ids=["late", "lost"])
async def test_two_thousand_interviews(deployment: Deployment, faults: Faults, kills: int, seed: int) -> None:
    options = deployment.options(faults, interviews=2000, seed=seed, spread=480)
    check(deployment, await run(deployment, options, kills=kills))

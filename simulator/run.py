"""Runs a simulation in real time: every interview against the deployment, beside a simulated LiveKit."""

import asyncio
from collections.abc import Callable
from math import ceil
from random import Random

import aiohttp

from simulator.deployment import DeploymentClient
from simulator.history import SECOND, History
from simulator.livekit_api import LiveKitApi, serve_api
from simulator.livekit_state import LiveKitState
from simulator.options import Options
from simulator.player import LEAD, Player, now_millis, sleep_until
from simulator.report import Comparison, Report
from simulator.scenarios.registry import generate, unusable_scenarios
from simulator.timing import Timing

MAX_CONNECTIONS = 100  # to the deployment
TIMEOUT = 20  # seconds for a response of the deployment
HEAD_START = 3  # seconds before the first interview starts


async def simulate(options: Options, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Run all interviews; takes as long as the longest one, plus the spread and a reconcile period.

    Calls `advance(1)` when an interview starts and when its result was compared.
    """
    report = Report(options)
    state = LiveKitState(now_millis)
    api = LiveKitApi(state, key=options.livekit_key, secret=options.livekit_secret)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
    async with (
        serve_api(api, options.listen_host, options.listen_port),
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
    ):
        players = _players(DeploymentClient(session, options), state, report)
        report.comparisons += await asyncio.gather(*(_play(player, advance) for player in players))
    report.calls = api.calls
    return report


async def _play(player: Player, advance: Callable[[int], None]) -> Comparison:
    await sleep_until(player.origin - LEAD)
    advance(1)
    comparison = await player.play()
    advance(1)
    return comparison


def _histories(options: Options, rng: Random) -> list[History]:
    return generate(rng, options.interviews, options.timing, names=options.scenarios, dispatch=options.dispatch)


def _players(deployment: DeploymentClient, state: LiveKitState, report: Report) -> list[Player]:
    options = report.options
    rng = Random(options.seed)  # noqa: S311 - repeatable, not secret
    histories = _histories(options, rng)
    begin = now_millis() + HEAD_START * SECOND
    return [
        Player(
            deployment,
            state,
            history,
            begin + round(rng.uniform(0, options.spread) * SECOND),
            Random(rng.random()),  # noqa: S311 - repeatable, not secret
            report.webhooks,
        )
        for history in histories
    ]


def announcement(options: Options) -> str:
    """Describe the simulation, its duration, the deployment's settings, and the scenarios that are skipped."""
    histories = _histories(options, Random(options.seed))  # noqa: S311 - repeatable, not secret
    longest = max((history.end for history in histories), default=0) / SECOND
    minutes = ceil((HEAD_START + options.spread + longest + options.settled_after) / 60)
    shortened = "shortened waits" if options.timing != Timing() else "default waits"
    settings = " ".join(f"{name}={value}" for name, value in options.settings.items())
    lines = [
        f"{options.interviews} interviews against {options.url}, seed {options.seed}, in real time with {shortened}: "
        f"about {minutes} min.",
        f"The deployment must have these settings: {settings}",
    ]
    if skipped := unusable_scenarios(options.timing):
        lines.append(f"Skipped, as these waits are too short for a clear result: {', '.join(skipped)}")
    return "\n".join(lines) + "\n"

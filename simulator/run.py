"""`interviews simulate`: tries a deployment with interviews whose truth is known, in real time.

The deployment must ask the simulated LiveKit (LIVEKIT_API_URL) and run with the same waits. There is no virtual clock:
with --speed all waits and stays are shorter, on both sides, and everything else is as it is (see `pace`).
"""

import argparse
import asyncio
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from random import Random

import aiohttp
from jwt.warnings import InsecureKeyLengthWarning

from simulator.delivery import Rates
from simulator.deployment import Deployment
from simulator.history import SECOND
from simulator.livekit_api import ServerApi, serving
from simulator.livekit_state import World
from simulator.options import Options
from simulator.player import Player, wall
from simulator.report import Outcome, Report
from simulator.scenarios.generate import left_out, some
from simulator.scenarios.registry import KINDS
from simulator.timing import Pace

CONNECTIONS = 100  # to the deployment, at once
TIMEOUT = 20  # seconds for an answer of the deployment
HEAD_START = 3  # seconds before the first interview begins
WAITS = {
    "grace": "grace",
    "agent-wait": "agent",
    "token-wait": "token",
    "waited": "waited",
    "dispatch-after": "dispatch",
}
"""The waits that a deployment sets: the names of their options, and of the pace's fields."""


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""What shows how far it is, given what is counted and how many there are; it gives what is told of each more."""


async def simulate(options: Options, advance: Callable[[int], None] = lambda _: None) -> Report:
    """Try the deployment; takes as long as the longest history, plus the spread and a reconcile period.

    `advance` is told of each interview that is over.
    """
    report = Report(options)
    world = World(wall)
    api = ServerApi(world, key=options.livekit_key, secret=options.livekit_secret)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with (
        serving(api, options.listen_host, options.listen_port),
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
    ):
        deployment = Deployment(session, options)
        players = _players(options, deployment, world, report)
        report.outcomes += await asyncio.gather(*(_play(player, advance) for player in players))
    report.calls = api.calls
    return report


async def _play(player: Player, advance: Callable[[int], None]) -> Outcome:
    outcome = await player.play()
    advance(1)
    return outcome


def _players(options: Options, deployment: Deployment, world: World, report: Report) -> list[Player]:
    rng = Random(options.seed)  # noqa: S311 - to be repeatable, not to be secret
    histories = some(rng, options.interviews, options.pace, names=options.kinds, dispatch=options.dispatch)
    begin = wall() + HEAD_START * SECOND
    return [
        Player(
            deployment,
            world,
            history,
            begin + round(rng.uniform(0, options.spread) * SECOND),
            Random(rng.random()),  # noqa: S311 - to be repeatable, not to be secret
            report.webhooks,
        )
        for history in histories
    ]


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `interviews simulate`."""
    parser = commands.add_parser("simulate", help="try a deployment with interviews whose truth is known")
    parser.set_defaults(simulate=main)
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `interviews simulate`."""
    defaults, pace = Options(), Pace()
    parser.add_argument("--url", default=defaults.url, help="of the deployment (default %(default)s)")
    parser.add_argument("--key", default=defaults.key, help="an API key of it, all scopes (default %(default)s)")
    parser.add_argument("--livekit-key", default=defaults.livekit_key, help="as the deployment has it")
    parser.add_argument("--livekit-secret", default=defaults.livekit_secret, help="as the deployment has it")
    parser.add_argument("--listen", default="127.0.0.1:7880", help="where the deployment's LIVEKIT_API_URL points to")
    parser.add_argument("--interviews", type=int, default=defaults.interviews, help="how many (default %(default)s)")
    parser.add_argument("--spread", type=float, default=defaults.spread, help="seconds within which they begin")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="the same one gives the same interviews")
    parser.add_argument("--lost", type=float, default=0, help="share of the webhooks that are lost, 0 to 1")
    parser.add_argument("--repeated", type=float, default=0, help="share that is delivered twice, 0 to 1")
    parser.add_argument("--late", type=float, default=0, help="seconds by which a webhook is late at most")
    parser.add_argument("--out-of-order", action="store_true", help="also within a room, which LiveKit never does")
    parser.add_argument("--dispatch", action="store_true", help="the deployment has an AGENT_NAME")
    parser.add_argument("--reconcile", type=float, default=defaults.reconcile, help="its reconcile period, seconds")
    parser.add_argument("--at-least", type=float, default=defaults.at_least, help="share that must be right, 0 to 1")
    parser.add_argument("--patience", type=float, default=defaults.patience, help="seconds to wait for it while away")
    parser.add_argument("--kinds", default="", help=f"only these, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--speed", type=float, default=1, help="divides every wait; the deployment's must be the same")
    for name, field in WAITS.items():
        usual = getattr(pace, field)
        parser.add_argument(f"--{name}", type=float, help=f"seconds, as set in the deployment (default {usual}/speed)")


def options_of(args: argparse.Namespace) -> Options:
    host, _, port = args.listen.rpartition(":")
    given = {field: getattr(args, name.replace("-", "_")) for name, field in WAITS.items()}
    given = {field: wait for field, wait in given.items() if wait is not None}
    return Options(
        url=args.url.rstrip("/"),
        key=args.key,
        livekit_key=args.livekit_key,
        livekit_secret=args.livekit_secret,
        listen_host=host.strip("[]"),
        listen_port=int(port),
        interviews=args.interviews,
        spread=args.spread,
        seed=args.seed,
        rates=Rates(args.lost, args.repeated, args.late, in_order=not args.out_of_order),
        pace=replace(Pace().faster(args.speed), **given),
        kinds=tuple(name for name in args.kinds.split(",") if name),
        dispatch=args.dispatch,
        reconcile=args.reconcile,
        at_least=args.at_least,
        patience=args.patience,
    )


def announcement(options: Options) -> str:
    """What the deployment has to be set to, and what can't be tried at this pace."""
    waits = ", ".join(f"{name} {getattr(options.pace, field):g} s" for name, field in WAITS.items())
    shortened = "Real clock, shortened waits" if options.pace != Pace() else "Real clock, real waits"
    lines = [
        f"{options.interviews} interviews against {options.url}, seed {options.seed}",
        f"{shortened}: the deployment must be set to the same.",
        f"Waits: {waits}. LiveKit's 20 s and whole seconds stay as they are.",
        f"Simulated LiveKit: set LIVEKIT_API_URL=http://{options.listen_host}:{options.listen_port}",
    ]
    if left := left_out(options.pace):
        lines.append(f"Left out, for nobody could tell them apart at this pace: {', '.join(left)}")
    return "\n".join(lines) + "\n"


def main(args: argparse.Namespace, progress: Progress) -> int:
    """Run it and print the report; 1 if the deployment was wrong, 2 if the arguments make no sense."""
    try:
        options = options_of(args)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(announcement(options))
    sys.stdout.flush()
    # what livekit-server --dev has is short, and is warned of by the deployment that must not use it
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    with progress("Interviews", options.interviews) as advance:
        report = asyncio.run(simulate(options, advance))
    sys.stdout.write("\n" + report.text())
    return 0 if report.ok else 1

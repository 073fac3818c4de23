"""The options of a simulation, and how a command line sets them."""

import argparse
from dataclasses import dataclass, field, replace

from simulator.delivery import Faults
from simulator.scenarios.registry import SCENARIOS
from simulator.timing import Timing

WAITS = {
    "--grace": "candidate_grace",
    "--agent-wait": "agent_wait",
    "--token-wait": "token_wait",
    "--waited": "candidate_waited",
    "--dispatch-after": "dispatch_after",
}
"""The waits that are settings of the deployment: command-line option, and name of the field and the setting."""


@dataclass(frozen=True, slots=True)
class Options:
    """The defaults fit a local deployment with default settings and LIVEKIT_API_URL."""

    url: str = "http://127.0.0.1:8000"
    key: str = "ik_local"
    livekit_key: str = "devkey"
    livekit_secret: str = "secret"  # noqa: S105 - the default of livekit-server --dev
    listen_host: str = "127.0.0.1"
    listen_port: int = 7880
    interviews: int = 100
    spread: float = 60  # seconds within which the interviews start
    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    timing: Timing = field(default_factory=Timing)
    scenarios: tuple[str, ...] = ()  # empty: all
    dispatch: bool = False  # whether the deployment has an AGENT_NAME
    reconcile: float = 30  # seconds; the deployment's RECONCILE_EVERY
    at_least: float = 1.0  # share of the interviews that must be correct
    patience: float = 120  # seconds to retry while the deployment is unavailable
    drain: float = 30  # seconds after the end in which events caused by the deployment are still sent

    @property
    def settled_after(self) -> float:
        """Seconds after which the deployment must show the correct result: delays, a reconcile period, and 5 more."""
        return self.faults.max_delay + self.reconcile + 5

    @property
    def settings(self) -> dict[str, str]:
        """The settings that the deployment must have."""
        waits = {name.upper(): f"{getattr(self.timing, name):g}" for name in WAITS.values()}
        return {"LIVEKIT_API_URL": f"http://{self.listen_host}:{self.listen_port}"} | waits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a simulation. `options_of` reads them."""
    defaults = Options()
    add = parser.add_argument_group("deployment").add_argument
    add("--url", default=defaults.url, help="URL of the deployment (default: %(default)s)")
    add("--key", default=defaults.key, help="API key with all scopes (default: %(default)s)")
    add("--livekit-key", default=defaults.livekit_key, help="its LIVEKIT_API_KEY (default: %(default)s)")
    add("--livekit-secret", default=defaults.livekit_secret, help="its LIVEKIT_API_SECRET (default: %(default)s)")
    add("--listen", default="127.0.0.1:7880", help="address of the simulated LiveKit (default: %(default)s)")
    add("--dispatch", action="store_true", help="the deployment has an AGENT_NAME")
    add("--reconcile", type=float, default=defaults.reconcile, help="its RECONCILE_EVERY (default: %(default)g)")
    add("--patience", type=float, default=defaults.patience, help="seconds to retry while it is unavailable")
    add = parser.add_argument_group("interviews").add_argument
    add("--interviews", type=int, default=defaults.interviews, help="number of interviews (default: %(default)s)")
    add("--spread", type=float, default=defaults.spread, help="seconds within which they start (default: %(default)g)")
    add("--seed", type=int, default=defaults.seed, help="the same seed gives the same interviews")
    add("--scenarios", "--kinds", default="", help=f"comma-separated; default: all of {', '.join(SCENARIOS)}")
    add("--at-least", type=float, default=defaults.at_least, help="share that must be correct, 0 to 1")
    add = parser.add_argument_group("webhook faults").add_argument
    add("--lost", type=float, default=0, help="share of webhooks that are lost, 0 to 1")
    add("--repeated", type=float, default=0, help="share of webhooks that are delivered twice, 0 to 1")
    add("--late", type=float, default=0, help="maximum delay of a webhook, in seconds")
    add("--out-of-order", action="store_true", help="reorder the webhooks of a room, which LiveKit never does")
    _add_waits(parser)


def _add_waits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("waits", "The deployment must have the same values.")
    group.add_argument("--speed", type=float, default=1, help="divide every wait by this factor")
    for option, name in WAITS.items():
        usual = getattr(Timing(), name)
        group.add_argument(
            option, dest=name, metavar="SECONDS", type=float, help=f"its {name.upper()} (default: {usual:g}/speed)"
        )


def options_of(args: argparse.Namespace) -> Options:
    """Raises ValueError if a scenario is unknown or the waits are too short."""
    scenarios = tuple(name for name in args.scenarios.split(",") if name)
    if unknown := set(scenarios) - SCENARIOS.keys():
        raise ValueError(f"Unknown scenarios: {', '.join(sorted(unknown))}")
    host, _, port = args.listen.rpartition(":")
    if not (port.isascii() and port.isdigit()):
        raise ValueError("--listen must be an address and a port, as 127.0.0.1:7880")
    waits = {name: wait for name in WAITS.values() if (wait := getattr(args, name)) is not None}
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
        faults=Faults(args.lost, args.repeated, args.late, in_order=not args.out_of_order),
        timing=replace(Timing().faster(args.speed), **waits),
        scenarios=scenarios,
        dispatch=args.dispatch,
        reconcile=args.reconcile,
        at_least=args.at_least,
        patience=args.patience,
    )

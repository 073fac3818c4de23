"""interviews simulate."""

import argparse
import asyncio
import sys
import warnings

from jwt.warnings import InsecureKeyLengthWarning

from app.cli.output import progress
from app.cli.runtime import Commands
from simulator.options import add_arguments, options_of
from simulator.run import announcement, simulate

ABOUT = """\
Run interviews with known results against a deployment, and compare the statuses that it reports.

Example: a deployment with four times shorter waits and, in another terminal, 20 interviews against it:

  DATA_DIR=/tmp/simulated LIVEKIT_API_URL=http://127.0.0.1:7880 CANDIDATE_GRACE=30 AGENT_WAIT=22 TOKEN_WAIT=30 \\
    CANDIDATE_WAITED=8 DISPATCH_AFTER=8 interviews serve
  interviews simulate --interviews 20 --speed 4

This command plays LiveKit: it sends webhooks, late, repeated or lost as you choose, and serves LiveKit's API to the
deployment, in place of a LiveKit server. It runs in real time, and says first how long that takes. Use a deployment
with a database that you can throw away.

Exit code: 0 if the results are correct, 1 if not, 2 if the options are invalid.
"""


def add_commands(commands: Commands) -> None:
    command = commands.add_parser(
        "simulate",
        help="run interviews with known results against a deployment",
        usage=argparse.SUPPRESS,  # the description is a better beginning
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(simulate=main)
    add_arguments(command)


def main(args: argparse.Namespace) -> int:
    """Run the simulation, print its report, and return the exit code."""
    try:
        options = options_of(args)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(announcement(options), flush=True)
    # the secret of livekit-server --dev is short; the deployment already warns about it
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    try:
        with progress("Interviews started and compared", 2 * options.interviews) as advance:
            report = asyncio.run(simulate(options, advance))
    except OSError as error:
        where = f"{options.listen_host}:{options.listen_port}"
        print(f"Can't play LiveKit at {where}: {error.strerror}. Stop what is there, or set --listen.", file=sys.stderr)
        return 2
    print(report.text(), end="")
    return 0 if report.ok else 1

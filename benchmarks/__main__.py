"""python -m benchmarks [SCENARIO...]: runs the scenarios, and writes docs/benchmarks.md with its plot."""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.interviews import fetch, postgres
from benchmarks.options import Bench, Options, options_of, parser
from benchmarks.report import write_report
from benchmarks.results import Section
from benchmarks.scenarios import join, lists, memory, nine, reconnects, start, stream, transcript, webhooks
from benchmarks.tools import ROOT, BenchmarkFailed, describe_machine, require

# The programs that each scenario needs outside the virtualenv.
PEERS = ("wrk", "node", "npm", "go")
PROGRAMS = {
    "join": PEERS,
    "webhooks": PEERS,
    "lists": ("wrk",),
    "memory": ("wrk",),
    "reconnects": ("wrk",),
    "transcript": ("wrk",),
}
SCENARIOS: dict[str, Callable[[Bench], Section]] = {
    "join": join.measure,
    "webhooks": webhooks.measure,
    "lists": lists.measure,
    "nine": nine.measure,
    "start": start.measure,
    "memory": memory.measure,
    "stream": stream.measure,
    "reconnects": reconnects.measure,
    "transcript": transcript.measure,
}
FOLDER = ROOT / ".data" / "benchmarks"
FIGURES = Path(__file__).parent / "figures.json"


def main() -> None:
    arguments = parser(list(SCENARIOS)).parse_args()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        sys.exit(f"No such scenario: {', '.join(sorted(unknown))}. There are {', '.join(SCENARIOS)}.")
    try:
        names = arguments.scenarios or list(SCENARIOS)
        require(*dict.fromkeys(program for name in names for program in PROGRAMS.get(name, ())))
        measure(names, options_of(arguments), arguments.docs or ROOT / "docs")
    except BenchmarkFailed as failure:
        sys.exit(str(failure))


def measure(names: list[str], options: Options, docs: Path) -> None:
    """Measure the scenarios one by one on one Postgres, and write each result immediately."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with postgres(FOLDER / "postgres") as server:
            machine = describe_machine(fetch(server.url(), "SHOW server_version")[0][0])
            bench = Bench(options, server, FOLDER)
            for name in names:
                began = time.monotonic()
                print(f"{name} ...", flush=True)
                _keep(name, SCENARIOS[name](bench), machine, options)
                write_report(_kept(), docs)
                print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def _keep(name: str, section: Section, machine: dict[str, str], options: Options) -> None:
    kept = _kept() | {name: {"machine": machine, "options": options.as_json(), "section": section.as_json()}}
    FIGURES.write_text(json.dumps({each: kept[each] for each in SCENARIOS if each in kept}, indent=1))


def _kept() -> dict[str, Any]:
    """Return the last result of each scenario, so that a single scenario can be measured again."""
    return dict(json.loads(FIGURES.read_text())) if FIGURES.exists() else {}


if __name__ == "__main__":
    main()

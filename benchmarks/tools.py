"""The tools of the benchmarks from outside the virtualenv, and the machine that they run on."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
PEERS = Path(__file__).parent / "peers"
LUA = Path(__file__).parent / "lua" / "prepared.lua"
GO_PEER = PEERS / "go" / "peer"

# The Debian package that has each program.
PACKAGES = {"wrk": "wrk", "node": "nodejs", "npm": "npm", "go": "golang-go"}


class BenchmarkFailed(Exception):
    """A benchmark cannot run; the message states why, and how to fix that."""


def require(*programs: str) -> None:
    """Raise BenchmarkFailed with the missing programs and their packages."""
    if not sys.platform.startswith("linux"):
        raise BenchmarkFailed("The benchmarks read a process's CPU time and memory from /proc: run them on Linux.")
    lacking = [program for program in programs if shutil.which(program) is None]
    if lacking:
        named = ", ".join(f"{program} (Debian package {PACKAGES[program]})" for program in lacking)
        raise BenchmarkFailed(f"Not found: {named}. Install what is missing and run it again.")


def build_peers() -> None:
    """Install the Node peers' locked packages, and build the Go peer, unless they are up to date."""
    node = PEERS / "node"
    installed = node / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (node / "package-lock.json").stat().st_mtime:
        _run("npm", "ci", "--silent", folder=node)
    _run("go", "build", "-o", str(GO_PEER), ".", folder=GO_PEER.parent)  # Go checks by itself whether it is up to date


def _run(*command: str, folder: Path) -> None:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise BenchmarkFailed(f"{' '.join(command[:2])} failed: {finished.stderr[-2000:]}")


def describe_machine(postgres: str) -> dict[str, str]:
    """Return the properties of this machine that affect the results; `postgres` is the server's version."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "Node": _version("node", "--version").lstrip("v"),
        "Go": _version("go", "env", "GOVERSION").removeprefix("go"),
        "Postgres": postgres,
    }


def _version(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "none"
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

"""clients/typescript: its npm packages, its build, and its types, which are made from the service's OpenAPI document.

`make client-types` runs this module, which writes the types again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.ext.asyncio import async_sessionmaker

from app.main import create_app
from tests.conftest import make_settings
from tests.e2e.toolchain import ROOT, Missing, one_at_a_time

CLIENT = ROOT / "clients" / "typescript"
PACKAGES = CLIENT / "node_modules"
TYPES = CLIENT / "src" / "schema.ts"


class CommandFailed(Exception):
    """A command failed; the message is the end of what it printed."""


def install() -> None:
    """Install the locked packages, unless they are there. Raises Missing without node or npm, or if npm fails."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Missing("no node and npm for clients/typescript: install nodejs and npm")
    try:
        _make(PACKAGES, [CLIENT / "package-lock.json"], "npm", "ci", "--ignore-scripts")
    except CommandFailed as failure:
        raise Missing(f"npm ci failed in {CLIENT}:\n{failure}") from failure


def build() -> None:
    """Install, and compile into dist/, unless that is up to date. Raises Missing."""
    install()
    configured = [
        CLIENT / name for name in ("package-lock.json", "package.json", "tsconfig.json", "tsconfig.build.json")
    ]
    _make(CLIENT / "dist", [*configured, *sorted((CLIENT / "src").iterdir())], "npm", "run", "build")


def _make(folder: Path, sources: Iterable[Path], *command: str) -> None:
    """Run the command, which fills the folder, unless it has already done so from the same sources."""
    wanted = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    made_from = folder / ".made-from"  # written last, so an interrupted command leaves none
    with one_at_a_time(f"npm-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"):
        if made_from.exists() and made_from.read_text() == wanted:
            return
        run(*command)
        made_from.write_text(wanted)


def run(*command: str | Path) -> str:
    """Run a command in the client's folder; return what it printed. Raises CommandFailed."""
    done = subprocess.run(  # noqa: S603 - the tests' own commands
        command,
        cwd=CLIENT,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(done.stdout[-4000:])
    return done.stdout


def types_of_the_service() -> str:
    """Return what openapi-typescript makes from the service's OpenAPI document."""
    document = create_app(make_settings(), async_sessionmaker()).openapi()
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "openapi.json", Path(folder) / "schema.ts"
        source.write_text(json.dumps(document))
        run(PACKAGES / ".bin" / "openapi-typescript", source, "--output", made)
        return made.read_text()


if __name__ == "__main__":
    install()
    TYPES.write_text(types_of_the_service())

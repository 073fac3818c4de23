"""schemathesis over the whole API as the document lists it, against the running service.

All checks, all phases, stateful too. A new call is covered as soon as it is in the document.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.toolchain import ROOT
from tests.serving import serving

EXAMPLES = 20  # a call and phase
NOT_HERE = {
    "/interviews/stream": "its answer never ends, so there is nothing to compare: it has tests of its own",
}


@pytest.mark.parametrize(
    "kind", [pytest.param("fixed", marks=pytest.mark.slow), pytest.param("fresh", marks=pytest.mark.soak)]
)
def test_the_service_is_what_its_document_says(own_database: str, tmp_path: Path, kind: str) -> None:
    """The fixed seed fails for a change of ours alone; the fresh one goes on searching, and says which it was."""
    seed = 5 if kind == "fixed" else secrets.randbelow(2**32)
    with serving(tmp_path, database_url=own_database) as url:
        listed = httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"].keys()
        run = subprocess.run(  # noqa: S603 - our own tool
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
                *("--checks", "all", "--continue-on-failure", "--no-color", "--output-truncate", "false"),
                *(option for path in NOT_HERE.keys() & listed for option in ("--exclude-path", path)),
                *("--max-examples", str(EXAMPLES), "--seed", str(seed), "--generation-database", "none"),
                *("--request-timeout", "60", "--suppress-health-check", "too_slow"),  # this machine may be busy
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.api.openapi.schemathesis_hooks"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    assert run.returncode == 0, f"seed {seed}:\n{run.stdout[-20_000:]}"
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"  ✅ {phase}\n" in run.stdout, run.stdout
    assert "Missing authentication" not in run.stdout, run.stdout  # what only ever answered 401 was not tested

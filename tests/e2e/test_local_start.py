"""A local start writes a configuration with which a real LiveKit server fits it, whatever its ports and keys are."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli import WITHIN, services
from tests.e2e.processes import Process, clean_environment, free_port, http_status

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("own_keys", [{}, {"LIVEKIT_API_KEY": "APIown", "LIVEKIT_API_SECRET": "s" * 40}], ids=len)
def test_livekit_starts_with_the_command_of_the_banner(
    livekit_binary: Path, tmp_path: Path, own_database: str, own_keys: dict[str, str]
) -> None:
    """The doctor makes a room, whose webhook reaches the service with the right signature."""
    livekit_port = free_port()
    with services(tmp_path) as service:
        ours = service(
            DATABASE_URL=own_database, LIVEKIT_URL=f"ws://127.0.0.1:{livekit_port}", RUN_WORKER="true", **own_keys
        ).start_and_wait()
        (command,) = [line for line in ours.output.splitlines() if "start it with: " in line]
        _, *arguments = shlex.split(command.partition("start it with: ")[2])
        livekit = Process(
            [str(livekit_binary), *arguments], env=clean_environment(), cwd=ours.cwd, log=tmp_path / "livekit.log"
        )
        livekit.start()
        try:
            livekit.wait_until(lambda: http_status(livekit_port, "/") == 200, within=WITHIN)
            checked = subprocess.run(
                [sys.executable, "-m", "app.cli", "doctor"],
                env=ours.env,
                cwd=ours.cwd,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
        finally:
            livekit.kill()
        ours.send(signal.SIGTERM)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "received and verified in" in checked.stdout
    assert "ERROR" not in livekit.output

"""The README is true: its commands start the service, and its curl blocks work as pasted, a second time too."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.core.settings import Settings
from tests.conftest import run_now
from tests.e2e.conditions import eventually
from tests.e2e.processes import clean_environment, http_status
from tests.e2e.toolchain import Missing, missing

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PORT = 8000  # the README's


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@contextmanager
def make_run(data: Path) -> Iterator[None]:
    """`make run` as a newcomer calls it, but for where the data lies; ended by Ctrl-C."""
    env = clean_environment(DATA_DIR=str(data))
    log_file = data.parent / "make-run.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            ["make", "run"],  # noqa: S607 - whichever make a newcomer has
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            run_now(eventually(lambda: process.poll() is not None or is_ready(), within=60))
            assert process.poll() is None, log_file.read_text()
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def is_ready() -> bool:
    return http_status(PORT, "/health/ready") == 200


def paste(block: str) -> dict[str, Any]:
    """Run a block as pasted into a shell; return the answer, which is JSON."""
    done = subprocess.run(["bash", "-c", block], capture_output=True, text=True, check=True)  # noqa: S603, S607
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_blocks_work_as_pasted_and_a_second_time(tmp_path: Path) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            missing(Missing(f"port {PORT}, which the README names, is in use"))
    for attempt in (1, 2):
        with make_run(tmp_path / "data"):
            joined, read, scheduled = [paste(block) for block in blocks()]
            assert joined["participantToken"]
            assert joined["status"] == read["status"] == scheduled["status"] == "READY_TO_JOIN"
            assert read["interviewId"] == joined["interviewId"]
            assert read["attempt"] == attempt
            run_now(_end(tmp_path / "data" / "postgres", read["interviewId"]))
    greeting = (tmp_path / "make-run.log").read_text()
    for told in (f"http://127.0.0.1:{PORT}", joined["interviewId"], "ik_local", "ws://127.0.0.1:7880", "curl -X POST"):
        assert told in greeting


async def _end(data: Path, interview_id: str) -> None:
    """End the demo as an interview that is over would stand there."""
    connection = await asyncpg.connect(f"postgresql://postgres@/interviews?host={data}&port=5432")
    try:
        ended = "UPDATE interviews SET status = 'COMPLETED', ended_at = now() WHERE id = $1"
        assert await connection.execute(ended, interview_id) == "UPDATE 1"
    finally:
        await connection.close()


def test_every_setting_is_in_the_readme() -> None:
    table = README[README.index("| setting | default |") :]
    named = set(re.findall(r"\b[A-Z][A-Z_]+[A-Z]\b", " ".join(re.findall(r"^\| ([A-Z_, ]+) \|", table, re.MULTILINE))))
    assert named == {name.upper() for name in Settings.model_fields}


def test_links_lead_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if not target.startswith("http")]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_make_has_each_target_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

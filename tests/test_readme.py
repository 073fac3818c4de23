"""The README is correct: its commands start the service, and its blocks work as pasted, also a second time.

So do the shell blocks of docs/, with the same `make run`. TypeScript is checked against LiveKit's types. Other blocks
are in test_docs.py.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from app.interviews.demo import DEMO_ID
from tests.blocks import ROOT, UNTIL_STOPPED, Block, of_language
from tests.clients import typescript
from tests.conftest import run_now
from tests.e2e.conditions import eventually
from tests.e2e.livekit_server import find_or_build
from tests.e2e.processes import clean_environment, http_status
from tests.e2e.toolchain import Missing, missing

PORT, LIVEKIT_PORT = 8000, 7880  # the README's
LOCAL_KEY = {"Authorization": "Bearer ik_local"}

pytestmark = pytest.mark.slow


@contextmanager
def started(command: list[str], log_file: Path, is_up: Callable[[], bool], **env: str) -> Iterator[None]:
    """Run a command in the project's folder as a newcomer does; end it with Ctrl-C."""
    with (
        log_file.open("ab") as log,
        subprocess.Popen(  # noqa: S603 - the documentation's own commands
            command,
            cwd=ROOT,
            env=clean_environment(**env),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            run_now(eventually(lambda: process.poll() is not None or is_up(), within=60))
            assert process.poll() is None, log_file.read_text()
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


@contextmanager
def make_run(data: Path) -> Iterator[None]:
    """`make run`, with its data in another folder."""

    def is_up() -> bool:
        return http_status(PORT, "/health/ready") == 200

    with started(["make", "run"], data.parent / "make-run.log", is_up, DATA_DIR=str(data)):
        yield


def need_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            missing(Missing(f"port {port}, which the README names, is in use"))


def paste(block: Block, env: Mapping[str, str]) -> str:
    """Run a block as pasted into a shell in the project's folder; return its output."""
    done = subprocess.run(  # noqa: S603 - the documentation's own commands
        ["bash", "-c", block.text],  # noqa: S607 - any bash will do
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_blocks_work_as_pasted_and_a_second_time(tmp_path: Path) -> None:
    need_free(PORT)
    env = clean_environment(DATA_DIR=str(tmp_path / "data"))
    for attempt in (1, 2):
        with make_run(tmp_path / "data"):
            joined, read, scheduled = [json.loads(paste(block, env)) for block in of_language("bash", "README.md")]
            assert joined["participantToken"]
            assert joined["status"] == read["status"] == scheduled["status"] == "READY_TO_JOIN"
            assert read["interviewId"] == joined["interviewId"]
            assert read["attempt"] == attempt
            if attempt == 1:
                run_the_others(env)
            run_now(_end(tmp_path / "data" / "postgres", read["interviewId"]))
    greeting = (tmp_path / "make-run.log").read_text()
    for part in (
        f"http://127.0.0.1:{PORT}",
        joined["interviewId"],
        "ik_local",
        "ws://127.0.0.1:7880",
        "curl -sS -X POST",
    ):
        assert part in greeting


def run_the_others(env: Mapping[str, str]) -> None:
    """Run the blocks of docs/; each exits with 0 and prints its documented output."""
    printed = {block: paste(block, env) for block in of_language("bash") if block.page != "README.md"}
    for part in (
        '"nextCursor"',
        '"byJobPost"',
        "event: ready",
        '"key":"ik_',
        '"status":"READY_TO_JOIN"',
        "0 differences",
    ):
        assert any(part in text for text in printed.values()), (part, printed)
    assert all(printed.values())


async def _end(data: Path, interview_id: str) -> None:
    """End the demo interview."""
    connection = await asyncpg.connect(f"postgresql://postgres@/interviews?host={data}&port=5432")
    try:
        ended = "UPDATE interviews SET status = 'COMPLETED', ended_at = now() WHERE id = $1"
        assert await connection.execute(ended, interview_id) == "UPDATE 1"
    finally:
        await connection.close()


@pytest.mark.e2e
def test_without_an_agent_the_candidate_waits(tmp_path: Path) -> None:
    """With the README's LiveKit server and test candidate, until the documented status."""
    try:
        server = find_or_build()
    except Missing as reason:
        missing(reason)
    need_free(PORT)
    need_free(LIVEKIT_PORT)
    blocks = {block.first_line: ["bash", "-c", block.text] for block in of_language("sh", "README.md")}
    livekit, candidate = [command for line, command in blocks.items() if line in UNTIL_STOPPED]
    livekit[-1] = livekit[-1].replace(".data/", f"{tmp_path}/data/")  # this start's DATA_DIR
    path = f"{server.parent}{os.pathsep}{os.environ['PATH']}"
    with (
        make_run(tmp_path / "data"),
        started(livekit, tmp_path / "livekit.log", lambda: http_status(LIVEKIT_PORT, "/") == 200, PATH=path),
        started(candidate, tmp_path / "candidate.log", lambda: status() == "WAITING_FOR_AGENT"),
    ):
        assert "connected" in (tmp_path / "candidate.log").read_text()


def status() -> Any:
    return httpx.get(f"http://127.0.0.1:{PORT}/interviews/{DEMO_ID}", headers=LOCAL_KEY).json()["status"]


# What the pages leave to the reader. Global, so that a block's own names and imports take precedence.
AROUND = """\
declare const service: string, id: string, key: string, invite: string;
declare const room: import("livekit-client").Room;
declare const DisconnectReason: typeof import("livekit-client").DisconnectReason;
declare const RoomEvent: typeof import("livekit-client").RoomEvent;
declare const TokenSource: typeof import("livekit-client").TokenSource;
declare function useSession(source: unknown): unknown; // of @livekit/components-react
declare function showThanks(): void;
declare function joinAgain(): void;
"""


def test_typescript_fits_livekits_types_and_the_clients(tmp_path: Path) -> None:
    try:
        typescript.build()
    except Missing as reason:
        missing(reason)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    scope = tmp_path / "node_modules" / "@interviews"
    scope.mkdir(parents=True)
    (scope / "client").symlink_to(typescript.CLIENT)
    for package in ("livekit-client", "openapi-fetch", "typescript"):
        (tmp_path / "node_modules" / package).symlink_to(typescript.PACKAGES / package)
    (tmp_path / "around.d.ts").write_text(AROUND)
    names = ["around.d.ts"]
    for number, block in enumerate(of_language("ts")):
        names.append(f"block{number}.ts")
        (tmp_path / names[-1]).write_text(f"{block.text}\nexport {{}};\n")
    strictly = ("--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--skipLibCheck")
    tsc = [shutil.which("node") or "node", str(typescript.PACKAGES / "typescript" / "bin" / "tsc"), "--noEmit"]
    checked = subprocess.run(  # noqa: S603 - the tests' own compiler
        [*tsc, *strictly, *names],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout

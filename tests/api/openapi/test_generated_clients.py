"""Clients that generators make of our document, each against the running service: it schedules, joins and lists."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients import typescript
from tests.conftest import API_KEY
from tests.e2e.browser import WEB
from tests.e2e.toolchain import Missing, missing
from tests.serving import serving

pytestmark = pytest.mark.slow


@pytest.fixture
def url(own_database: str, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, database_url=own_database) as served:
        yield served


@pytest.fixture
def document(url: str, tmp_path: Path) -> Path:
    found = tmp_path / "openapi.json"
    found.write_bytes(httpx.get(f"{url}/openapi.json", timeout=60).content)
    return found


def run(*command: object, cwd: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # openapi-python-client formats by ruff
    done = subprocess.run(  # noqa: S603 - the tests' own tools
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_openapi_python_client(url: str, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every warning of the generator is an error: it would leave out a call that it does not understand."""
    name = "generated_interviews_client"
    generator = (sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none")
    run(*generator, "--path", document, "--output-path", tmp_path / name, cwd=tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def part(module: str) -> Any:
        return importlib.import_module(f"{name}.{module}")

    models = part("models")
    timeout = httpx.Timeout(60)
    with part("client").AuthenticatedClient(base_url=url, token=API_KEY, timeout=timeout) as client:
        new = models.NewInterview(
            candidate_id="cand-1",
            application_id="app-1",
            job_post_id="job-1",
            job_title="Backend Developer",
            phone_number="+966 50 987 6543",
        )
        made = part("api.recruiter.schedule_interview").sync(client=client, body=new)
        assert isinstance(made, models.Interview)
        assert made.opens_at is None
        join = part("api.candidate.join_interview")
        joined = join.sync(made.interview_id, client=client, body=models.JoinRequest())
        assert isinstance(joined, models.JoinResponse)
        assert joined.room_name == made.room_name
        assert joined.token_expires_at.tzinfo is not None
        listed = part("api.recruiter.list_interviews").sync(
            client=client, status=[models.PublicStatus.READY_TO_JOIN], limit=10
        )
        assert made.interview_id in [each.interview_id for each in listed.data]
        part("api.recruiter.cancel_interview").sync(made.interview_id, client=client)
        refused = join.sync(made.interview_id, client=client, body=models.JoinRequest())
        assert isinstance(refused, models.Problem)
        assert refused.code == "interview_over"


def test_openapi_typescript(url: str, document: Path, tmp_path: Path) -> None:
    """The program is checked against the generated types, strictly, and then run."""
    try:
        typescript.install()
    except Missing as reason:
        missing(reason)
    program = tmp_path / "program"
    program.mkdir()
    (program / "package.json").write_text('{"type": "module"}')
    (program / "node_modules").symlink_to(typescript.PACKAGES)
    shutil.copy(WEB / "platform.ts", program)
    tools = typescript.PACKAGES / ".bin"
    run(tools / "openapi-typescript", document, "-o", "schema.d.ts", cwd=program)
    strictly = ("--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--skipLibCheck")
    run(tools / "tsc", *strictly, "platform.ts", cwd=program)

    told = json.loads(run("node", "platform.js", url, API_KEY, cwd=program))

    assert told["joined"] == told["room"]
    assert told["server"][0] == told["server"][1]
    assert told["made"] in told["listed"]
    assert told["refused"] == "interview_over"

"""interviews list, show and watch: beside a running service on the embedded Postgres, and on DATABASE_URL."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.interviews.demo import DEMO_ID
from tests.cli.test_cli import COMMAND, WITHIN, Service, assert_refused, execute, service
from tests.command import Command, command_in
from tests.conftest import run_now
from tests.e2e.conditions import eventually
from tests.e2e.processes import Process, clean_environment

__all__ = ["service"]  # a fixture

HOSTILE = "\x1b[2J[bold]أسماء[/bold] :smile: \u202e"
SOME = """
    WITH owner AS (
        INSERT INTO organizations (name, company_name, instructions_template, max_duration)
        VALUES ('default', 'x', 'x', 60) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id)
    INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name,
        phone_number, job_title, company_name, instructions, max_duration, status, created_at, search_text)
    SELECT id, 'c', 'a', 'j' || n % 2, {name}, '96650' || n, 'Developer', 'x', 'x', 60,
        CASE n % 3 WHEN 0 THEN 'FAILED' ELSE 'COMPLETED' END, now() - n * interval '1 second', 'developer 96650' || n
    FROM owner, generate_series(1, {count}) AS n
"""


def insert(url: str, count: int, name: str = "'Candidate ' || n") -> None:
    execute(url, SOME.format(count=count, name=name))


@pytest.fixture
def interviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_database: str
) -> Command:
    return command_in(tmp_path, monkeypatch, capsys, DATABASE_URL=own_database)


def test_the_same_filters_as_the_api(interviews: Command, own_database: str) -> None:
    insert(own_database, 450)
    found = partial(interviews.lines, "list")
    every = found("--limit", "1000")
    assert len(every) == 450
    assert [row["createdAt"] for row in every] == sorted((row["createdAt"] for row in every), reverse=True)
    assert {"interviewId", "status", "candidateId", "talkTime", "connected", "updatedAt"} <= every[0].keys()
    failed = found("--status", "FAILED", "--job-post-id", "j1", "--sort", "createdAt", "--limit", "7")
    expected = [row for row in reversed(every) if row["status"] == "FAILED" and row["jobPostId"] == "j1"][:7]
    assert failed == expected
    assert len(found("developer", "+966 50-449")) == 1
    assert found("--updated-since", "2999-01-01") == []

    told = interviews.run("list", "--limit", "3")
    assert len(told.stdout.splitlines()) == 4  # and the head
    assert "Raise --limit" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("list", "--candidate-id", "a b"), 1, "candidateId"),
        (("list", "--organization", "x"), 1, "No organization is named 'x'. Existing: default."),
        (("list", "--updated-since", "soon"), 2, "must be an instant"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--status", "DONE"), 2, "--status"),
        (("show", "x"), 1, "No interview has the id 'x'"),
        (("show", "c6aec8f5-592b-4b90-b7fd-a6a6404b31f8"), 1, "'interviews list' shows the ids"),
        (("watch", "--organization", "x"), 1, "No organization is named 'x'"),
    ],
)
def test_refused(interviews: Command, own_database: str, arguments: tuple[str, ...], code: int, told: str) -> None:
    insert(own_database, 1)
    ended = interviews.run(*arguments)
    assert ended.returncode == code
    assert told in ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr


def test_without_a_database_none_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interviews = command_in(tmp_path, monkeypatch, capsys)
    for arguments in (("list",), ("show", str(DEMO_ID)), ("watch",), ("keys", "list"), ("audit",)):
        assert_refused(interviews.run(*arguments), "There is no database in .data/postgres")
        assert not (tmp_path / ".data").exists()


def test_a_name_does_not_command_the_terminal(interviews: Command, own_database: str) -> None:
    insert(own_database, 1, name=f"E'{HOSTILE}'".replace("\x1b", "\\x1b"))
    table = interviews.text("list")
    assert "\ufffd[2J[bold]أسماء[/bold] :smile: \ufffd" in table
    (row,) = interviews.lines("list")
    assert row["participantName"] == HOSTILE
    shown = interviews.text("show", row["interviewId"])
    assert "\x1b" not in table + shown


SPOKEN = """
    INSERT INTO transcript_lines (interview_id, attempt, position, agent, line_id, speaker, text, said_at)
    SELECT id, line.attempt, position, 'agent-AJ_1', 'line-' || position, speaker, spoken, '2026-11-22T09:00:00Z'
    FROM interviews, (VALUES
        (1, 1, 'agent', 'Why Python?'), (1, 2, 'candidate', E'{hostile}'), (2, 1, 'candidate', 'Hello again.')
    ) AS line (attempt, position, speaker, spoken)
"""


def test_show_prints_who_said_what_and_when(interviews: Command, own_database: str) -> None:
    insert(own_database, 1)
    (row,) = interviews.lines("list")
    assert "SAID AT" not in interviews.text("show", row["interviewId"])
    execute(own_database, SPOKEN.format(hostile=HOSTILE.replace("\x1b", "\\x1b")))
    told = interviews.text("show", row["interviewId"])
    spoken = told[told.index("SAID AT") :].splitlines()
    assert [each.split() for each in spoken[1:]] == [
        ["2026-11-22", "09:00:00Z", "1", "agent", "Why", "Python?"],
        [
            "2026-11-22",
            "09:00:00Z",
            "1",
            "candidate",
            *HOSTILE.replace("\x1b", "\ufffd").replace("\u202e", "\ufffd").split(),
        ],
        ["2026-11-22", "09:00:00Z", "2", "candidate", "Hello", "again."],
    ]
    (shown,) = interviews.lines("show", row["interviewId"])
    assert shown["transcriptLines"] == 2
    assert [(each["attempt"], each["position"], each["speaker"], each["text"]) for each in shown["transcript"]] == [
        (1, 1, "agent", "Why Python?"), (1, 2, "candidate", HOSTILE), (2, 1, "candidate", "Hello again."),
    ]  # fmt: skip
    assert shown["transcript"][0]["at"] == "2026-11-22T09:00:00.000Z"


@pytest.mark.slow
def test_head_ends_it_quietly(tmp_path: Path, own_database: str) -> None:
    insert(own_database, 450)
    for arguments in ("list --limit 450 --json", "list --limit 450"):
        command = f"{sys.executable} -m app.cli {arguments} | head -1"
        ended = subprocess.run(  # noqa: S602 - our own words
            command,
            shell=True,
            cwd=tmp_path,
            env=clean_environment(DATABASE_URL=own_database),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=True,
        )
        assert len(ended.stdout.splitlines()) == 1
        assert "Error" not in ended.stderr
        assert "database" not in ended.stderr


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        ("app.server.run", ("rich", "alembic", "simulator")),
        ("app.cli.worker", ("rich", "alembic", "simulator", "fastapi", "uvicorn")),
        ("app.cli.keys", ("rich", "alembic", "simulator", "fastapi", "uvicorn", "livekit", "aiohttp")),
    ],
)
def test_a_command_imports_what_it_needs(module: str, left_out: tuple[str, ...]) -> None:
    """Else each would take two to three times as long to start."""
    code = f"import sys, app.cli.commands, {module}; sys.exit(str([n for n in {left_out} if n in sys.modules] or ''))"
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=WITHIN, capture_output=True, text=True)  # noqa: S603 - our own words
    assert ended.stderr.strip() == ""


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(*arguments: str, cwd: Path, **environment: str) -> Process:
        log = tmp_path / f"watch{len(made)}"
        made.append(Process([*COMMAND, "watch", *arguments], env=clean_environment(**environment), cwd=cwd, log=log))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.kill()


@pytest.mark.slow
def test_beside_a_running_service(
    service: Callable[..., Service],
    watching: Callable[..., Process],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On its embedded Postgres, which they join and leave; and which outlives the service while somebody watches."""
    ours = service()
    ours.start_and_wait()
    postmaster = ours.cwd / ".data" / "postgres" / "postmaster.pid"
    for_scripts, for_people = watching("--json", cwd=ours.cwd), watching(cwd=ours.cwd)

    interviews = command_in(ours.cwd, monkeypatch, capsys)

    def changes() -> list[dict[str, Any]]:
        return [json.loads(line) for line in for_scripts.output.splitlines()]

    def both_see_something() -> bool:
        ours.call("POST", f"/interviews/{DEMO_ID}/cancel")
        ours.call("POST", f"/interviews/{DEMO_ID}/reopen")
        return bool(for_scripts.output and for_people.output)

    run_now(eventually(both_see_something, within=WITHIN))
    both_see_something()
    last = ours.call("GET", f"/interviews/{DEMO_ID}")["sequence"]
    run_now(eventually(lambda: changes()[-1]["data"]["sequence"] == last, within=WITHIN))
    run_now(eventually(lambda: "READY_TO_JOIN -> CANCELLED" in for_people.output, within=WITHIN))
    sequences = [each["data"]["sequence"] for each in changes()]
    assert sequences == list(range(sequences[0], last + 1))
    cancelled = next(each for each in changes() if each["data"]["status"] == "CANCELLED")
    assert cancelled["type"] == "interview.status_changed"
    assert cancelled["data"]["interviewId"] == str(DEMO_ID)
    assert "Candidate, Senior Backend Developer - Fintech" in for_people.output

    shown = interviews.lines("show", str(DEMO_ID))[0]
    assert shown["timeline"][0]["text"] == "The interview was scheduled"
    assert {name: shown[name] for name in shown if name not in ("timeline", "transcript")} == ours.call(
        "GET", f"/interviews/{DEMO_ID}"
    )
    told = interviews.text("show", str(DEMO_ID))
    for each in ("Nobody is connected.", "READY_TO_JOIN -> CANCELLED: the interview was cancelled", "MENA Bank"):
        assert each in told
    assert [row["interviewId"] for row in interviews.lines("list")] == [str(DEMO_ID)]

    ours.stop()
    assert postmaster.exists()
    for watcher, end, code in ((for_people, signal.SIGINT, 130), (for_scripts, signal.SIGTERM, 0)):
        assert watcher.is_running
        watcher.send(end)
        assert watcher.wait(WITHIN) == code
        assert "Traceback" not in watcher.output
    assert not postmaster.exists()


def test_a_bar_on_a_terminal_only(interviews: Command, tmp_path: Path, own_database: str) -> None:
    insert(own_database, 3)
    execute(own_database, "UPDATE interviews SET status = 'READY_TO_JOIN'")
    ended = interviews.run("audit")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0 differences\n", "")
    ours, theirs = pty.openpty()
    on_terminal = subprocess.run(  # noqa: S603 - our own program
        [*COMMAND, "audit"],
        cwd=tmp_path,
        env=clean_environment(DATABASE_URL=own_database, TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    os.close(theirs)
    assert on_terminal.stdout == "0 differences\n"
    assert "3/3" in everything_on(ours)
    os.close(ours)


def everything_on(terminal: int) -> str:
    """Return all that was written to a terminal whose other end is closed: a read gives 4 KB of it at most."""
    found = b""
    with suppress(OSError):
        while chunk := os.read(terminal, 4096):
            found += chunk
    return found.decode()

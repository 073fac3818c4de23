"""The command as people run it: a process of its own in an empty folder, with nothing else in its environment."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app import __version__
from app.cli.commands import parser
from app.cli.interviews import list_some
from app.cli.runtime import with_sessions
from app.interviews.demo import DEMO_ID
from app.server.listening import PortUnavailable, listen
from tests.conftest import make_settings, run_now
from tests.e2e.processes import Process, clean_environment, free_port, http_status

COMMAND = [sys.executable, "-m", "app.cli"]
RECRUITER = {"Authorization": "Bearer ik_local"}
WITHIN = 60  # seconds; more than enough on a machine that is busy with other tests


class Service(Process):
    """`serve` on a port of its own."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        folder.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {"PORT": str(self.port), "RUN_WORKER": "false"} | environment
        super().__init__(
            [*COMMAND, "serve", *arguments], env=clean_environment(**given), cwd=folder, log=folder / "log"
        )

    def start_and_wait(self) -> Self:
        self.start()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: http_status(self.port, "/health/ready") == 200, within=WITHIN)

    def stop(self) -> None:
        self.send(signal.SIGTERM)
        assert self.wait(WITHIN) == 0, self.log_tail()
        assert "Traceback" not in self.output

    def call(self, method: str, path: str) -> Any:
        answer = httpx.request(method, self.url + path, headers=RECRUITER, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()


@contextmanager
def services(folder: Path) -> Iterator[Callable[..., Service]]:
    """Yield a function that makes services, each in an empty folder; stop all of them at the end."""
    made: list[Service] = []

    def make(*arguments: str, **environment: str) -> Service:
        made.append(Service(folder / f"service{len(made)}", *arguments, **environment))
        return made[-1]

    yield make
    for each in made:
        each.send(signal.SIGTERM)
        if each.wait(WITHIN) is None:
            each.kill()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    with services(tmp_path) as make:
        yield make


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [*COMMAND, *arguments],
        env=clean_environment(**environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def assert_refused(ended: subprocess.CompletedProcess[str], *shown: str, hidden: tuple[str, ...] = ()) -> None:
    """It exited with 1 and a message on standard error, without secrets, a traceback or links."""
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    for each in shown:
        assert each in ended.stderr
    for each in ("Traceback", "sqlalche.me", *hidden):
        assert each not in ended.stderr


def execute(url: str, statement: str) -> Any:
    """Return the first value of the statement's result."""

    async def work() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return run_now(work())


def test_the_first_start_shows_what_a_newcomer_needs(service: Callable[..., Service]) -> None:
    """Without DATABASE_URL it starts an embedded Postgres and stops it at the end; after a crash it starts again."""
    ours = service(LIVEKIT_URL="ws://127.0.0.1:7999")
    ours.start_and_wait()
    postmaster = ours.cwd / ".data" / "postgres" / "postmaster.pid"
    assert postmaster.exists()
    for shown in (
        ours.url,
        str(DEMO_ID),
        "ik_local",
        "ws://127.0.0.1:7999",
        "start it with: livekit-server --config .data/livekit.yaml",
        f"curl -sS -X POST {ours.url}/interviews/{DEMO_ID}/join",
        "the embedded Postgres in .data/postgres",
    ):
        assert shown in ours.output
    assert ours.output.startswith("Making the database in .data/postgres; it takes a few seconds, this once ...\n")
    config = (ours.cwd / ".data" / "livekit.yaml").read_text()
    assert "port: 7999\n" in config
    assert f"{ours.url}/webhooks/livekit" in config
    joined = httpx.post(f"{ours.url}/interviews/{DEMO_ID}/join", timeout=30).json()
    assert joined["serverUrl"] == "ws://127.0.0.1:7999"

    ours.kill()
    ours.start_and_wait()
    assert "Making" not in ours.output
    assert ours.call("GET", f"/interviews/{DEMO_ID}")["joinAttempts"] == 1

    ours.stop()
    assert not postmaster.exists()


def test_the_demo_interview_opens_again_when_it_is_over(service: Callable[..., Service], own_database: str) -> None:
    ours = service(DATABASE_URL=own_database)
    ours.start_and_wait()
    assert ours.call("GET", f"/interviews/{DEMO_ID}")["attempt"] == 1
    assert ours.call("POST", f"/interviews/{DEMO_ID}/cancel")["status"] == "CANCELLED"
    ours.stop()
    for _ in range(2):  # what is open stays as it is
        ours.start_and_wait()
        demo = ours.call("GET", f"/interviews/{DEMO_ID}")
        assert (demo["status"], demo["attempt"]) == ("READY_TO_JOIN", 2)
        assert str(DEMO_ID) in ours.output
        ours.stop()


def test_no_demo_interview_among_others(service: Callable[..., Service], own_database: str) -> None:
    execute(
        own_database,
        """WITH owner AS (
               INSERT INTO organizations (name, company_name, instructions_template, max_duration)
               VALUES ('default', 'x', 'x', 60) RETURNING id)
           INSERT INTO interviews (organization_id, candidate_id, application_id, job_post_id, participant_name,
               phone_number, job_title, company_name, instructions, max_duration)
           SELECT id, 'c', 'a', 'j', 'x', '1', 'x', 'x', 'x', 60 FROM owner""",
    )
    ours = service(DATABASE_URL=own_database)
    ours.start_and_wait()
    assert str(DEMO_ID) not in ours.output
    assert [each["candidateId"] for each in ours.call("GET", "/interviews")["data"]] == ["c"]


def test_elsewhere_there_is_no_demo_and_no_known_key(service: Callable[..., Service], own_database: str) -> None:
    secrets = {"LIVEKIT_API_SECRET": "s" * 32, "BOOTSTRAP_API_KEY": "ik_" + "k" * 32}
    given = {"ENVIRONMENT": "production", "LIVEKIT_API_KEY": "APIkey", "JOIN_POLICY": "open"} | secrets
    given |= {"ALLOWED_ORIGINS": "https://hire.example", "LIVEKIT_URL": "wss://livekit.example"}
    ours = service(DATABASE_URL=own_database, **given)
    ours.start_and_wait()
    for hidden in (str(DEMO_ID), "ik_local", "livekit-server", ".data", *secrets.values()):
        assert hidden not in ours.output
    assert not (ours.cwd / ".data").exists()
    assert httpx.get(f"{ours.url}/interviews", headers=RECRUITER, timeout=30).status_code == 401
    mine = {"Authorization": f"Bearer {secrets['BOOTSTRAP_API_KEY']}"}
    assert httpx.get(f"{ours.url}/interviews", headers=mine, timeout=30).json()["data"] == []


def test_two_start_on_an_empty_database_at_once(service: Callable[..., Service], own_database: str) -> None:
    execute(own_database, "DROP SCHEMA public CASCADE")
    execute(own_database, "CREATE SCHEMA public")
    both = [service(DATABASE_URL=own_database) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.wait_until_ready()
    for each in both:
        assert str(DEMO_ID) in each.output
        each.stop()
    assert execute(own_database, "SELECT count(*) FROM interviews") == 1


def test_a_running_service_reports_that_its_schema_is_behind(
    service: Callable[..., Service], own_database: str
) -> None:
    ours = service(DATABASE_URL=own_database)
    ours.start_and_wait()
    first = "SELECT version_num FROM alembic_version"
    current = execute(own_database, first)
    execute(own_database, "DROP TABLE alembic_version")
    answer = httpx.get(f"{ours.url}/health/ready", timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (503, "schema_behind")
    assert http_status(ours.port, "/health/live") == 200
    execute(own_database, f"CREATE TABLE alembic_version AS SELECT '{current}' AS version_num")
    ours.wait_until_ready()


def test_migrate(tmp_path: Path, own_database: str) -> None:
    execute(own_database, "DROP SCHEMA public CASCADE")
    execute(own_database, "CREATE SCHEMA public")
    for _ in range(2):
        ended = run(tmp_path, "migrate", DATABASE_URL=own_database)
        assert ended.returncode == 0, ended.stderr
        assert "is up to date" in ended.stdout
    assert execute(own_database, "SELECT count(*) FROM api_keys") == 0  # it migrates, and nothing else


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    url = f"postgresql://user:hush@127.0.0.1:{free_port()}/interviews?password=hush"
    ended = run(tmp_path, "serve", DATABASE_URL=url)
    assert_refused(ended, url.replace("hush", "***"), "correct DATABASE_URL", hidden=("hush",))
    assert not (tmp_path / ".data").exists()  # it never falls back to the embedded one


def test_a_database_url_that_is_not_valid(tmp_path: Path) -> None:
    """A slash in a password must be percent-encoded; otherwise the part before it is read as a port."""
    ended = run(tmp_path, "migrate", DATABASE_URL="postgresql://user:hu/sh@127.0.0.1/d")
    assert_refused(ended, "postgresql://user:***@127.0.0.1/d", "is not a valid URL", hidden=("hu/", "'hu'", "/sh"))


@pytest.mark.parametrize("password", ["hu@sh", "12/hush", "hu#sh", "hu?sh", "hu@s/h@"])
def test_a_password_that_is_not_percent_encoded(capsys: pytest.CaptureFixture[str], password: str) -> None:
    with pytest.raises(SystemExit):
        with_sessions(f"postgresql://user:{password}@127.0.0.1:{free_port()}/d", never)
    message = capsys.readouterr().err
    for shown in ("postgresql://user:***@127.0.0.1", "is not a valid URL: percent-encode", "%40 for @", "%2F for /"):
        assert shown in message
    for hidden in ("Name or service", "hu", "sh@", "12/"):
        assert hidden not in message


def test_an_encoded_password_and_an_at_sign_in_an_option_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        with_sessions(f"postgresql://user:hu%40sh@127.0.0.1:{free_port()}/d?user=a@b", never)
    assert "percent-encode" not in capsys.readouterr().err


def test_a_database_error_is_the_drivers_own(capsys: pytest.CaptureFixture[str], own_database: str) -> None:
    async def query(sessions: async_sessionmaker[AsyncSession]) -> None:
        async with sessions() as session:
            await session.execute(text("SELECT * FROM nowhere"))

    with pytest.raises(SystemExit):
        with_sessions(own_database, query)
    message = capsys.readouterr().err
    assert 'can\'t be used: relation "nowhere" does not exist\n' in message
    for hidden in ("sqlalche.me", "[SQL", "SELECT", "<class"):
        assert hidden not in message


async def never(_: async_sessionmaker[AsyncSession]) -> None:
    raise AssertionError("it is connected")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("list", "--status", "x"), "'SCHEDULED', 'READY_TO_JOIN'"),
        (("list", "--sort", "x"), "'createdAt', '-createdAt'"),
        (("list", "--limit", "0"), "must be an integer of 1 or more"),
        (("list", "--updated-since", "yesterday"), "must be an instant, such as 2026-11-22T09:00:00Z"),
        (("keys", "create", "a", "--scope", "x"), "'interviews:read', 'interviews:write'"),
        (("serve", "--workers", "none"), "must be an integer of 1 or more"),
    ],
    ids=str,
)
def test_an_argument_that_is_not_valid(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], shown: str
) -> None:
    with pytest.raises(SystemExit):
        parser(arguments).parse_args(arguments)
    message = capsys.readouterr().err
    assert shown in message
    assert "<" not in message  # <Status.X: 'X'>
    assert " value:" not in message  # invalid _count value: '0'


def test_a_filter_that_is_not_valid(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("list", "--job-post-id", "a b", "--updated-since", "1950-01-01")
    with pytest.raises(SystemExit):
        list_some(make_settings(), "", parser(arguments).parse_args(arguments))
    message = capsys.readouterr().err
    assert "jobPostId must be 1 to 128 printable ASCII" in message
    assert "updatedSince must be a year" in message


def test_unsafe_settings(tmp_path: Path) -> None:
    given = {"HOST": "0.0.0.0", "LIVEKIT_API_SECRET": "shortsecret", "BOOTSTRAP_API_KEY": "ik_short", "PORT": "port"}  # noqa: S104 - refused
    ended = run(tmp_path, "serve", **given)
    shown = (
        "The settings are not valid",
        "LIVEKIT_API_KEY: ",
        "LIVEKIT_API_SECRET: ",
        "BOOTSTRAP_API_KEY: ",
        "JOIN_POLICY: ",
        "HOST=0.0.0.0",
    )
    assert_refused(ended, *shown, "ALLOWED_ORIGINS: ", "DATABASE_URL: ", "PORT: ", hidden=("shortsecret", "ik_short"))
    assert not (tmp_path / ".data").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_found_before_anything_is_done(tmp_path: Path, workers: str, host: str) -> None:
    """No banner, no database, no worker: one line that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(tmp_path, "serve", "--workers", workers, HOST=host, PORT=str(port))
    assert_refused(ended)
    assert ended.stderr == (
        f"Can't listen on port {port} of {host}: it is in use. Stop what uses it ('lsof -i :{port}' names it), or "
        f"choose another port: PORT={port + 1} make run.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_another_address_that_cannot_be_listened_on() -> None:
    with pytest.raises(PortUnavailable, match="this machine has no such address"):
        listen("192.0.2.1", 0)
    with pytest.raises(PortUnavailable, match="the name has no address"):
        listen("nowhere.invalid", 0)


def test_the_system_chooses_the_port(service: Callable[..., Service], own_database: str) -> None:
    """PORT=0: everything that is shown has the port that was chosen."""
    ours = service(DATABASE_URL=own_database, PORT="0")
    ours.start()
    ours.wait_until(lambda: f"/interviews/{DEMO_ID}/join\n" in ours.output, within=WITHIN)
    found = re.search(r"http://127\.0\.0\.1:(\d+)/interviews/", ours.output)
    assert found is not None
    ours.port = int(found[1])
    ours.wait_until_ready()
    assert ":0/" not in ours.output


def test_version_prints_the_installed_version(tmp_path: Path) -> None:
    ended = run(tmp_path, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"interviews {__version__}\n")

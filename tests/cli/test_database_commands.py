"""The commands that only use the database need DATABASE_URL alone, in production too."""

from pathlib import Path

import pytest

from app.cli.commands import MODULES, parser
from app.core.settings import DatabaseSettings
from app.interviews.demo import DEMO_ID
from tests.command import command_in

ALONE = [
    ("keys", "list"),
    ("keys", "create", "a", "--scope", "agent", "--create"),
    ("keys", "revoke", "a"),
    ("list",),
    ("show", str(DEMO_ID)),
    ("watch",),
    ("audit",),
    ("migrate",),
]
NEED_ALL = {"serve", "worker", "doctor"}  # settings
NEED_NONE = {"simulate"}


def test_each_command_is_here() -> None:
    assert {arguments[0] for arguments in ALONE} | NEED_ALL | NEED_NONE == set(MODULES)


@pytest.mark.parametrize("arguments", ALONE, ids=" ".join)
def test_a_command_that_only_uses_the_database(arguments: tuple[str, ...]) -> None:
    assert parser(arguments).parse_args(arguments).settings is DatabaseSettings


def test_they_need_database_url_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_database: str
) -> None:
    """And ignore what is missing or unsafe elsewhere. `watch` runs until it is stopped."""
    for unsafe in ({}, {"HOST": "0.0.0.0"}, {"LIVEKIT_API_SECRET": "short", "ALLOWED_ORIGINS": "*"}):  # noqa: S104
        interviews = command_in(
            tmp_path, monkeypatch, capsys, ENVIRONMENT="production", DATABASE_URL=own_database, **unsafe
        )
        for command in ("migrate", "keys list", "audit"):
            assert interviews.run(*command.split()).stderr == ""
    for arguments in (each for each in ALONE if each not in (("show", str(DEMO_ID)), ("watch",))):
        assert interviews.run(*arguments).returncode == 0, arguments
    assert "No interview has the id" in interviews.run("show", str(DEMO_ID)).stderr


def test_outside_a_laptop_they_never_use_another_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = command_in(tmp_path, monkeypatch, capsys, ENVIRONMENT="production").run("migrate")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 2
    assert "DATABASE_URL: set the URL of a Postgres server" in ended.stderr
    assert not (tmp_path / ".data").exists()


def test_a_misspelled_setting_is_refused_by_each_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_database: str
) -> None:
    interviews = command_in(tmp_path, monkeypatch, capsys, DATABASE_URL=own_database, PORTS="1", JOIN_POLCY="phone")
    (tmp_path / ".env").write_text("AGENT_NAMME=hush\nSOMEBODY_ELSES=1\n")
    for command in ("list", "serve"):
        ended = interviews.run(command)
        assert ended.returncode == 1
        assert ended.stderr == (
            "The settings are not valid:\n"
            "AGENT_NAMME (in .env): not a setting; did you mean AGENT_NAME?\n"
            "JOIN_POLCY (in the environment): not a setting; did you mean JOIN_POLICY?\n"
        )
    monkeypatch.delenv("JOIN_POLCY")
    (tmp_path / ".env").unlink()
    ended = interviews.run("keys", "list")
    assert ended.returncode == 0
    assert ended.stderr == "Warning: PORTS (in the environment): not a setting; did you mean PORT?\n"


def test_a_file_that_is_not_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_bytes("AGENT_NAME=hush".encode("utf-16"))
    ended = command_in(tmp_path, monkeypatch, capsys).run("list")
    assert (ended.returncode, ended.stderr) == (1, ".env can't be read: it is not UTF-8\n")

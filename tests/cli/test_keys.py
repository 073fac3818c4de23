"""interviews keys: as an operator calls it, and as a script does."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.cli.test_cli import Service, assert_refused, execute, service
from tests.command import Command, command_in

__all__ = ["service"]  # a fixture


@pytest.fixture
def interviews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_database: str
) -> Command:
    return command_in(tmp_path, monkeypatch, capsys, DATABASE_URL=own_database)


def test_a_key_from_its_making_to_its_end(
    service: Callable[..., Service], interviews: Command, own_database: str
) -> None:
    ours = service(DATABASE_URL=own_database)
    ours.start_and_wait()

    def status_with(key: str) -> int:
        return httpx.get(f"{ours.url}/interviews", headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code

    key = interviews.text("keys", "create", "platform", "--scope", "interviews:read", "--scope", "agent").strip()
    (made,) = interviews.lines("keys", "create", "x", "--organization", "ACME", "--create", "--scope", "admin")
    assert made["key"].startswith(f"ik_{made['id']}_")
    assert (status_with(key), status_with(made["key"])) == (200, 403)

    listed = interviews.lines("keys", "list")
    assert [(each["name"], each["organization"]) for each in listed] == [
        ("bootstrap", "default"),
        ("platform", "default"),
        ("x", "ACME"),
    ]
    assert listed[2] == {name: made[name] for name in made if name != "key"}
    assert interviews.lines("keys", "list", "--organization", "ACME") == listed[2:]
    table = interviews.text("keys", "list")
    for told in ("platform", "agent interviews:read", listed[1]["id"]):
        assert told in table
    for shown in (table, str(listed), execute(own_database, "SELECT string_agg(k::text, ' ') FROM api_keys k")):
        assert key[-40:] not in shown

    assert "was revoked at" in interviews.text("keys", "revoke", listed[1]["id"])
    assert status_with(key) == 401  # the service that runs knows at once
    (ended,) = interviews.lines("keys", "revoke", "platform")
    assert ended["revokedAt"] == interviews.lines("keys", "list")[1]["revokedAt"] is not None
    assert key not in ours.output


def test_a_key_that_expires(interviews: Command, own_database: str) -> None:
    arguments = ("keys", "create", "--organization", "new", "--create", "--scope", "admin")
    made = [
        *interviews.lines(*arguments, "in", "--expires-in", "90d"),
        *interviews.lines(*arguments, "at", "--expires-at", "2999-01-31T12:00:00+03:00"),
        *interviews.lines(*arguments, "never"),
    ]
    lives = execute(own_database, "SELECT (expires_at - created_at)::text FROM api_keys WHERE name = 'in'")
    assert lives == "90 days"
    assert [each["expiresAt"] for each in made[1:]] == ["2999-01-31T09:00:00.000Z", None]
    assert [each["expiresAt"] for each in interviews.lines("keys", "list")] == [each["expiresAt"] for each in made]
    assert {each["lastUsedAt"] for each in made} == {None}
    execute(own_database, "UPDATE api_keys SET last_used_at = '2998-01-01 10:00Z' WHERE name = 'never'")
    table = interviews.text("keys", "list")
    assert "2999-01-31 09:00:00Z" in table
    assert "2998-01-01 10:00:00Z" in table


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "x", "--scope", "admin", "--expires-in", "999999w"), "--expires-in is too long"),
        (("create", "x", "--scope", "admin", "--expires-at", "2020-01-31"), "2020-01-31 00:00:00 UTC has passed"),
        (("create", "x", "--scope", "admin"), "No organization is named 'default'. Existing: none yet."),
        (("create", "bootstrap", "--scope", "admin"), "Choose another"),
        (("list", "--organization", "x"), "No organization is named 'x'"),
        (("revoke", "x"), "No key has the id or name 'x'"),
    ],
)
def test_refused(interviews: Command, arguments: tuple[str, ...], told: str) -> None:
    assert_refused(interviews.run("keys", *arguments), told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--expires-in", "90"), "write 90m, 12h, 90d or 6w, not '90'"),
        (("--expires-in", "0d"), "write 90m, 12h, 90d or 6w, not '0d'"),
        (("--expires-at", "soon"), "must be an instant"),
        (("--expires-in", "90d", "--expires-at", "2999-01-01"), "not allowed with argument"),
    ],
)
def test_an_expiry_that_is_none(interviews: Command, arguments: tuple[str, ...], told: str) -> None:
    ended = interviews.run("keys", "create", "x", "--scope", "admin", *arguments)
    assert ended.returncode == 2
    assert told in ended.stderr


@pytest.mark.parametrize("blank", ["", " ", "\u200b", "\u3164", "\u202e"], ids=ascii)
def test_a_name_shows_something(interviews: Command, blank: str) -> None:
    for names in ((blank, "--organization", "new"), ("x", "--organization", blank)):
        ended = interviews.run("keys", "create", *names, "--create", "--scope", "admin")
        assert (ended.returncode, "must have a character that can be seen" in ended.stderr) == (2, True)


def test_a_name_is_used_once(interviews: Command) -> None:
    arguments = ("keys", "create", "x", "--organization", "new", "--create", "--scope", "admin")
    assert interviews.text(*arguments).startswith("ik_")
    assert_refused(interviews.run(*arguments), "A key named 'x' exists")


def test_a_database_that_is_not_migrated(interviews: Command, own_database: str) -> None:
    execute(own_database, "DROP TABLE alembic_version")
    assert_refused(interviews.run("keys", "list"), "interviews migrate")

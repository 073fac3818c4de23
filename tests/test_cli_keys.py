"""interviews keys: as an operator calls it, and as a script does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.test_cli import Service, assert_refused, execute, run, service

__all__ = ["service"]  # a fixture


def called(folder: Path, *arguments: str, **environment: str) -> str:
    ended = run(folder, *arguments, **environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_key_from_its_making_to_its_end(service: Callable[..., Service], tmp_path: Path, own_database: str) -> None:
    ours = service(DATABASE_URL=own_database)
    ours.start_and_wait()

    def keys(*arguments: str) -> str:
        return called(tmp_path, "keys", *arguments, DATABASE_URL=own_database)

    def status_with(key: str) -> int:
        return httpx.get(f"{ours.url}/interviews", headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code

    key = keys("create", "platform", "--scope", "interviews:read", "--scope", "agent").strip()  # and nothing else
    made = json.loads(keys("create", "theirs", "--organization", "ACME", "--create", "--scope", "admin", "--json"))
    assert made["key"].startswith(f"ik_{made['id']}_")
    assert (status_with(key), status_with(made["key"])) == (200, 403)

    listed = lines(keys("list", "--json"))
    assert [(each["name"], each["organization"]) for each in listed] == [
        ("bootstrap", "default"),
        ("platform", "default"),
        ("theirs", "ACME"),
    ]
    assert listed[2] == {name: made[name] for name in made if name != "key"}
    assert lines(keys("list", "--json", "--organization", "ACME")) == listed[2:]
    table = keys("list")
    for told in ("platform", "agent interviews:read", listed[1]["id"]):
        assert told in table
    assert key not in table + json.dumps(listed)
    assert key[-40:] not in execute(own_database, "SELECT string_agg(k::text, ' ') FROM api_keys k")

    assert "is revoked since" in keys("revoke", listed[1]["id"])
    assert status_with(key) == 401  # the service that runs knows at once
    ended = json.loads(keys("revoke", "platform", "--json"))
    assert ended["revokedAt"] == lines(keys("list", "--json"))[1]["revokedAt"] is not None
    assert key not in ours.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create", "x", "--scope", "admin"), "There is no organization 'default'. There are: none."),
        (("create", "bootstrap", "--scope", "admin"), "choose another"),
        (("list", "--organization", "x"), "There is no organization 'x'"),
        (("revoke", "x"), "There is no key 'x'"),
    ],
)
def test_refused(tmp_path: Path, own_database: str, arguments: tuple[str, ...], told: str) -> None:
    assert_refused(run(tmp_path, "keys", *arguments, DATABASE_URL=own_database), told)


def test_a_name_is_used_once(tmp_path: Path, own_database: str) -> None:
    arguments = ("keys", "create", "x", "--organization", "new", "--create", "--scope", "admin")
    called(tmp_path, *arguments, DATABASE_URL=own_database)
    assert_refused(run(tmp_path, *arguments, DATABASE_URL=own_database), "There is a key of the name 'x' already")


def test_a_database_that_is_not_migrated(tmp_path: Path, own_database: str) -> None:
    execute(own_database, "DROP TABLE alembic_version")
    assert_refused(run(tmp_path, "keys", "list", DATABASE_URL=own_database), "interviews migrate")

"""The deployment files fit each other, the settings and the code.

Without a Docker engine: builds and containers are not tested.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.core.settings import MIN_SECRET_LENGTH, Settings

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.yml"
MAKE_ENV = ROOT / "deploy" / "make-env"
SECRETS = {"POSTGRES_PASSWORD", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "BOOTSTRAP_API_KEY"}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::\?[^}]*)?\}")  # the two forms in our file


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    made = make_env(tmp_path / "compose.env")
    assert made.returncode == 0, made.stderr
    return tmp_path / "compose.env"


@pytest.fixture
def env(env_file: Path) -> dict[str, str]:
    return read_env(env_file)


@pytest.fixture
def services(env: dict[str, str]) -> dict[str, Any]:
    """The services of docker-compose.yml, with the variables of a generated file."""
    text = VARIABLE.sub(lambda found: env[found["name"]], COMPOSE.read_text())
    assert "$" not in text, "a variable in a form that this test does not read"
    return dict(read_yaml(text)["services"])


def make_env(file: Path) -> subprocess.CompletedProcess[str]:
    return run(MAKE_ENV, file)


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - commands of this file alone
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def read_env(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def read_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def settings_of(environment: Mapping[str, object], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a service in a container with these variables only."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    return Settings(_env_file=None)


class TestMakeEnv:
    def test_only_its_owner_may_read_the_file(self, env_file: Path) -> None:
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600

    def test_a_file_that_exists_is_left_as_it_is(self, env_file: Path) -> None:
        before = env_file.read_bytes()
        again = make_env(env_file)
        assert again.returncode == 1
        assert "left as it is" in again.stderr
        assert env_file.read_bytes() == before

    def test_two_runs_share_no_secret(self, env: dict[str, str], tmp_path: Path) -> None:
        make_env(tmp_path / "other.env")
        other = read_env(tmp_path / "other.env")
        assert env.keys() == other.keys()
        assert {name for name in env if env[name] != other[name]} == SECRETS
        assert len({env[name] for name in SECRETS}) == len(SECRETS)

    def test_secrets_are_long_enough_and_need_no_quoting(self, env: dict[str, str]) -> None:
        for name in SECRETS:
            assert re.fullmatch(r"\w{16,}", env[name], re.ASCII), name
        assert len(env["LIVEKIT_API_SECRET"]) >= MIN_SECRET_LENGTH
        assert re.fullmatch(r"ik_[0-9a-f]{48}", env["BOOTSTRAP_API_KEY"])

    def test_no_secret_is_printed(self, tmp_path: Path) -> None:
        made = make_env(tmp_path / "printed.env")
        env = read_env(tmp_path / "printed.env")
        assert not [name for name in SECRETS if env[name] in made.stdout + made.stderr]

    def test_git_does_not_take_the_file(self) -> None:
        assert run("git", "check-ignore", "--no-index", "--quiet", "deploy/compose.env").returncode == 0


class TestCompose:
    def test_fits_the_schema_of_the_compose_specification(self) -> None:
        command = Path(sys.executable).with_name("check-jsonschema")
        checked = run(command, "--builtin-schema", "vendor.compose-spec", COMPOSE)  # the schema is in the package
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def test_docker_compose_reads_it(self, env_file: Path, env: dict[str, str]) -> None:
        if not shutil.which("docker") or run("docker", "compose", "version").returncode:
            pytest.skip("docker compose is not installed")
        unset = {name: value for name, value in os.environ.items() if name not in env}  # they would override the file
        shown = run("docker", "compose", "--env-file", env_file, "config", "--format", "json", env=unset)
        assert shown.returncode == 0, shown.stderr
        read = json.loads(shown.stdout)["services"]["interviews"]["environment"]
        assert read["LIVEKIT_API_SECRET"] == env["LIVEKIT_API_SECRET"]

    def test_each_variable_is_in_the_generated_file_and_each_of_those_is_used(self, env: dict[str, str]) -> None:
        assert {found["name"] for found in VARIABLE.finditer(COMPOSE.read_text())} == set(env)

    def test_the_service_starts_with_what_it_is_given(
        self, services: dict[str, Any], env: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = services["interviews"]["environment"]
        assert set(given) <= {field.upper() for field in Settings.model_fields}
        settings = settings_of(given, monkeypatch)
        assert settings.environment == "production"
        assert not settings.is_local
        assert settings.join_policy == "open"
        assert settings.livekit_keys == {env["LIVEKIT_API_KEY"]: env["LIVEKIT_API_SECRET"]}
        assert settings.bootstrap_api_key.get_secret_value() == env["BOOTSTRAP_API_KEY"]
        assert settings.allowed_origins == ("http://localhost:3000", "http://127.0.0.1:3000")

    def test_the_service_and_postgres_agree(self, services: dict[str, Any]) -> None:
        postgres = services["postgres"]["environment"]
        user, password, name = (postgres[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB"))
        url = services["interviews"]["environment"]["DATABASE_URL"]
        assert url == f"postgresql://{user}:{password}@postgres:5432/{name}"

    def test_livekit_signs_its_webhooks_with_the_key_of_the_service(
        self, services: dict[str, Any], env: dict[str, str]
    ) -> None:
        config = read_yaml(services["livekit"]["environment"]["LIVEKIT_CONFIG"])
        assert config["keys"] == {env["LIVEKIT_API_KEY"]: env["LIVEKIT_API_SECRET"]}
        assert config["webhook"]["api_key"] == env["LIVEKIT_API_KEY"]
        port = services["interviews"]["environment"]["PORT"]
        assert config["webhook"]["urls"] == [f"http://interviews:{port}/webhooks/livekit"]

    def test_browsers_reach_livekit_at_the_configured_url(self, services: dict[str, Any]) -> None:
        config = read_yaml(services["livekit"]["environment"]["LIVEKIT_CONFIG"])
        rtc = config["rtc"]
        assert services["interviews"]["environment"]["LIVEKIT_URL"] == f"ws://{rtc['node_ip']}:{config['port']}"
        assert services["livekit"]["ports"] == [
            f"{rtc['node_ip']}:{config['port']}:{config['port']}",
            f"{rtc['node_ip']}:{rtc['tcp_port']}:{rtc['tcp_port']}",
            f"{rtc['node_ip']}:{rtc['udp_port']}:{rtc['udp_port']}/udp",
        ]

    def test_nothing_is_published_beyond_this_machine(self, services: dict[str, Any]) -> None:
        published = [port for service in services.values() for port in service.get("ports", [])]
        assert len(published) == 4
        assert all(port.startswith("127.0.0.1:") for port in published)

    def test_each_service_has_a_health_check_and_waits_for_the_others(self, services: dict[str, Any]) -> None:
        assert all("healthcheck" in service for service in services.values())
        waits_for = {name: service.get("depends_on", {}) for name, service in services.items()}
        healthy = {"condition": "service_healthy"}
        assert waits_for == {"postgres": {}, "interviews": {"postgres": healthy}, "livekit": {"interviews": healthy}}


class TestDockerfile:
    def test_copies_what_the_service_needs(self) -> None:
        copied = {source.rstrip("/") for source in self._copied()}
        assert copied == {"pyproject.toml", "requirements.lock", "migrations", "simulator", "app"}
        assert [source for source in copied if not (ROOT / source).exists()] == []

    def test_nothing_else_reaches_the_builder(self) -> None:
        rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
        assert rules[0] == "*"
        allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
        assert allowed == {source.rstrip("/") for source in self._copied()}

    def test_the_command_exists_and_gets_the_signals(self) -> None:
        command = json.loads(self._instructions("CMD")[-1])  # as JSON: no shell stands between Docker and the service
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        assert command == ["interviews", "serve"]
        assert command[0] in scripts

    def test_it_does_not_run_as_root(self) -> None:
        assert self._instructions("USER") == ["10001"]

    def test_each_download_is_verified(self) -> None:
        installs = [line for line in self._instructions("RUN") if "uv pip install" in line]
        assert len(installs) == 2
        assert "--require-hashes --constraints requirements.lock" in " ".join(installs[0].split())
        # uv has no --require-hashes for a folder, but verifies what its constraints have hashes for
        assert "--no-deps --build-constraints requirements.lock" in installs[1]
        assert "\nsetuptools==" in (ROOT / "requirements.lock").read_text()

    def _copied(self) -> list[str]:
        lines = [line.split() for line in self._instructions("COPY")]
        return [source for words in lines if not words[0].startswith("--from=") for source in words[:-1]]

    def _instructions(self, name: str) -> list[str]:
        text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
        return re.findall(rf"^{name} +(.*)$", text, re.MULTILINE)

"""DATA_DIR/livekit.yaml: derived from the settings, for its owner alone, and an edited one is kept."""

import stat
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.core.settings import Settings
from app.livekit.local_server import LocalServer, address_of, start_command, write_config
from tests.conftest import make_settings


def local(folder: Path, **changed: Any) -> Settings:
    return make_settings(data_dir=folder / "data", **changed)


def written(settings: Settings) -> LocalServer:
    server = write_config(settings)
    assert server is not None
    assert server.file == settings.data_dir / "livekit.yaml"
    return server


def read(settings: Settings) -> Any:
    return YAML(typ="safe", pure=True).load(written(settings).file.read_text())


def test_all_of_it_comes_from_the_settings(tmp_path: Path) -> None:
    settings = local(
        tmp_path, port=8123, livekit_url="ws://localhost:7123", livekit_api_key="yes", livekit_api_secret='a"b: #',  # noqa: S106
        livekit_previous_keys={"old": "of old"},
    )  # fmt: skip
    config = read(settings)
    assert config["keys"] == {"yes": 'a"b: #', "old": "of old"}
    assert config["webhook"] == {"api_key": "yes", "urls": ["http://127.0.0.1:8123/webhooks/livekit"]}
    assert (config["port"], config["rtc"]["tcp_port"], config["rtc"]["udp_port"]) == (7123, 7124, 7125)


@pytest.mark.parametrize(
    ("url", "host", "address", "port"),
    [
        ("ws://127.0.0.1:7880", "127.0.0.1", "127.0.0.1", 7880),
        ("ws://127.0.0.1", "::1", "127.0.0.1", 80),
        ("ws://[::1]:7880/", "localhost", "::1", 7880),
    ],
)
def test_its_keys_do_not_leave_the_machine(tmp_path: Path, url: str, host: str, address: str, port: int) -> None:
    settings = local(tmp_path, host=host, livekit_url=url)
    config = read(settings)
    assert config["bind_addresses"] == [address]
    assert config["port"] == port
    assert config["webhook"]["urls"] == [f"{address_of(settings)}/webhooks/livekit"]
    assert address_of(settings) == f"http://{f'[{host}]' if ':' in host else host}:8000"
    assert stat.S_IMODE((tmp_path / "data" / "livekit.yaml").stat().st_mode) == 0o600
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["livekit.yaml"]


def test_it_is_written_again_when_the_settings_change(tmp_path: Path) -> None:
    for port in (8000, 8001, 8001):
        settings = local(tmp_path, port=port)
        assert written(settings).problem == ""
        assert read(settings)["webhook"]["urls"] == [f"http://127.0.0.1:{port}/webhooks/livekit"]


@pytest.mark.parametrize("edit", ["# mine\n", "", "\ufeff", "x" * 3])
def test_an_edited_one_is_kept(tmp_path: Path, edit: str) -> None:
    file = written(local(tmp_path)).file
    text = edit if edit == "" else file.read_text() + edit
    file.write_text(text)
    kept = written(local(tmp_path, port=8001))
    assert kept.problem == f"{file} was edited, so it is kept. Delete it to have it written from the settings"
    assert file.read_text() == text
    file.unlink()
    assert written(local(tmp_path, port=8001)).problem == ""


def test_a_folder_that_cannot_be_written_to_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert "could not be written: " in written(local(tmp_path)).problem


@pytest.mark.parametrize(
    "url", ["wss://cloud.livekit.example", "ws://10.0.0.1:7880", "ws://127.0.0.1:x", "wss://127.0.0.1"]
)
def test_a_livekit_that_is_not_for_us_to_start(tmp_path: Path, url: str) -> None:
    settings = local(tmp_path, livekit_url=url)
    assert write_config(settings) is None
    assert start_command(settings) is None
    assert not (tmp_path / "data").exists()


def test_outside_a_laptop_no_secret_is_written(tmp_path: Path) -> None:
    settings = local(
        tmp_path, environment="production", livekit_url="ws://127.0.0.1:7880", livekit_api_secret="s" * 32,
        allowed_origins=("https://hire.example",), database_url="postgresql://u@h/d",
    )  # fmt: skip
    assert write_config(settings) is None
    assert not (tmp_path / "data").exists()


def test_the_command_can_be_pasted(tmp_path: Path) -> None:
    assert start_command(make_settings()) == "livekit-server --config .data/livekit.yaml"
    settings = make_settings(data_dir=tmp_path / "my data")
    assert start_command(settings) == f"livekit-server --config '{tmp_path}/my data/livekit.yaml'"

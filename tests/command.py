"""The command line in this process, which is fast; tests in a process of its own are in test_cli."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import app.cli
from app.core.settings import Settings


@dataclass(frozen=True)
class Command:
    """Calls `interviews` in an empty folder, with this environment only."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> CompletedProcess[str]:
        """Return its exit code and output."""
        self.monkeypatch.setattr(sys, "argv", ["interviews", *arguments])
        self.capsys.readouterr()
        with ThreadPoolExecutor(1) as executor:  # pytest's own event loop in this thread
            error = executor.submit(app.cli.main).exception()
        if error and not isinstance(error, SystemExit):
            raise error
        code = error.code if isinstance(error, SystemExit) else 0
        return CompletedProcess(arguments, int(code or 0), *self.capsys.readouterr())

    def text(self, *arguments: str) -> str:
        """Return its output for people."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Return its output for scripts, the JSON of each line."""
        return [json.loads(line) for line in self.text(*arguments, "--json").splitlines()]


def command_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **environment: str
) -> Command:
    monkeypatch.chdir(folder)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # signals and logging of this process belong to pytest
    monkeypatch.setattr("app.cli.commands.signal.signal", lambda *_: None)
    monkeypatch.setattr("app.cli.commands.configure_logging", lambda: None)
    return Command(monkeypatch, capsys)

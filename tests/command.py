"""The command in this process, which starts in no time; what needs a process of its own is in test_cli."""

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
    """Calls `interviews` in an empty folder, with nothing but what is given in its environment."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> CompletedProcess[str]:
        """Return how it ended, and what it printed."""
        self.monkeypatch.setattr(sys, "argv", ["interviews", *arguments])
        self.capsys.readouterr()
        with ThreadPoolExecutor(1) as executor:  # whatever event loop pytest keeps in this thread
            error = executor.submit(app.cli.main).exception()
        if error and not isinstance(error, SystemExit):
            raise error
        code = error.code if isinstance(error, SystemExit) else 0
        return CompletedProcess(arguments, int(code or 0), *self.capsys.readouterr())

    def text(self, *arguments: str) -> str:
        """Return what it prints for people."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what it prints for scripts."""
        return [json.loads(line) for line in self.text(*arguments, "--json").splitlines()]


def command_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **environment: str
) -> Command:
    monkeypatch.chdir(folder)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # a process has its signals and its log for itself, this one is pytest's
    monkeypatch.setattr("app.cli.commands.signal.signal", lambda *_: None)
    monkeypatch.setattr("app.cli.commands.configure_logging", lambda: None)
    return Command(monkeypatch, capsys)

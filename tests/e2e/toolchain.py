"""The tools of the end-to-end tests from outside the virtualenv, and the cache of what they build."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """A tool outside the project is missing; the message is the reason to skip or fail."""


def missing(reason: Missing) -> NoReturn:
    """Skip with this reason; fail if REQUIRE_E2E=1."""
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(f"REQUIRE_E2E=1, but {reason}", pytrace=False)
    pytest.skip(str(reason))


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "livekit-interviews"


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock of this user, so that one of several test workers builds and the others wait."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

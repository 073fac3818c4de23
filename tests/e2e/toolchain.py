"""What the end-to-end tests take from outside the virtualenv, and where they keep what they made of it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """Something outside the project is not there; the message is the reason to skip, or to fail where it must be."""


def missing(reason: Missing) -> NoReturn:
    """Skips, saying why; fails where REQUIRE_E2E=1 says that everything must be there."""
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(f"REQUIRE_E2E=1, but {reason}", pytrace=False)
    pytest.skip(str(reason))


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "livekit-interviews"


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Holds a lock of this machine's user, so that of several test workers one makes a thing and the rest find it."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

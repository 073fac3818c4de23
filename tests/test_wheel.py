"""The service, installed from its wheel outside this repository, migrates, serves and simulates."""

import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile

import asyncpg
import pytest

from app import __version__
from app.core.schema import head
from tests.conftest import database_url, run_now
from tests.e2e.processes import Process, clean_environment, free_port, http_status

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "migrations", "simulator")
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
WITHIN = 180  # seconds, on a busy machine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that it uses no older build/ and leaves none."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    _run(sys.executable, "-c", BUILD, cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a virtualenv with the wheel. Its dependencies come from the environment of the tests.

    A .pth file adds them to its path. Their own .pth files are not read, so the editable install has no effect.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")  # as in the Makefile
    _run(uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(folder), cwd=folder.parent)
    python = str(folder / "bin" / "python")
    install = ("pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, str(wheel))
    _run(uv, *install, cwd=folder.parent)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(dependencies)))
    return folder


def test_the_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    expected = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected


@pytest.mark.parametrize("package", ["app", "simulator"])
def test_python_imports_what_was_installed(environment: Path, tmp_path: Path, package: str) -> None:
    printed = _run(
        str(environment / "bin" / "python"), "-c", f"import {package}; print({package}.__file__)", cwd=tmp_path
    )
    assert Path(printed.strip()).is_relative_to(environment)


def test_its_version(environment: Path, tmp_path: Path) -> None:
    assert _run(_interviews(environment), "--version", cwd=tmp_path) == f"interviews {__version__}\n"


def test_it_migrates(environment: Path, tmp_path: Path, empty_database: str) -> None:
    printed = _run(_interviews(environment), "migrate", cwd=tmp_path, DATABASE_URL=empty_database)
    assert "is up to date" in printed
    assert run_now(_fetch(empty_database, "SELECT version_num FROM alembic_version")) == head()


def test_it_serves_and_simulates(environment: Path, tmp_path: Path) -> None:
    port, livekit_port = free_port(), free_port()
    service = Process(
        [_interviews(environment), "serve"],
        env=clean_environment(
            PORT=str(port), DATA_DIR=str(tmp_path / "data"), LIVEKIT_API_URL=f"http://127.0.0.1:{livekit_port}"
        ),
        cwd=tmp_path,
        log=tmp_path / "service.log",
    )
    try:
        service.start()
        service.wait_until(lambda: http_status(port, "/health/ready") == 200, within=WITHIN)
        assert http_status(port, "/docs") == 200
        simulate = ("simulate", "--url", f"http://127.0.0.1:{port}", "--listen", f"127.0.0.1:{livekit_port}")
        brief = (
            "--interviews",
            "2",
            "--scenarios",
            "cancelled_before_anybody_came",
            "--spread",
            "0",
            "--reconcile",
            "1",
        )
        assert "interviews: 2, correct: 2" in _run(_interviews(environment), *simulate, *brief, cwd=tmp_path)
        service.send(signal.SIGTERM)
        assert service.wait(WITHIN) == 0, service.log_tail()
    finally:
        service.kill()


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    run_now(_fetch(postgres_url, f"CREATE DATABASE {name}"))
    yield database_url(postgres_url, name)
    run_now(_fetch(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _fetch(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _interviews(environment: Path) -> str:
    return str(environment / "bin" / "interviews")


def _run(*command: str, cwd: Path, **environment: str) -> str:
    """Return the command's output. Raises AssertionError with its errors if it fails."""
    ended = subprocess.run(  # noqa: S603 - commands of our own
        command,
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout

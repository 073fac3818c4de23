"""Removes each defence in turn, in a copy of the project, and shows that its tests then fail.

`python -m tests.attacks.take_out [WORDS OF A NAME]`, run by hand, takes minutes; exits 1 if a test does not fail. The
tests of a candidate's rights need a LiveKit server, as the end-to-end tests do.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.core.embedded_postgres import FAST_AND_UNSAFE, embedded_postgres
from tests.attacks.defences import DEFENCES
from tests.attacks.defences.defence import Defence
from tests.e2e.toolchain import ROOT

TEST_TIMEOUT = 600  # seconds, for the tests of one defence
FOREVER = 60  # seconds, after which a test counts as hanging


class Stopped(Exception):
    """The table of defences is wrong; the message states what to do."""


def copy_project(folder: Path) -> Path:
    """Copy all files that git tracks or would add; return the Python of an environment with the copy installed."""
    listed = subprocess.run(  # noqa: S603 - git
        [shutil.which("git") or "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)  # noqa: S603 - Python
    packages = next((folder / ".venv" / "lib").glob("python*/site-packages"))
    # processes that tests start elsewhere, with an empty environment, must import the copy too
    (packages / "copy.pth").write_text(f"{folder}\n{sysconfig.get_path('purelib')}\n")
    return folder / ".venv" / "bin" / "python"


def run_tests(
    python: Path, folder: Path, tests: Sequence[str], database: str, *, forever: bool = False
) -> dict[str, str]:
    """Run the tests in the copy; return PASSED, FAILED, ERROR or SKIPPED for each case."""
    env = {**os.environ, "TEST_DATABASE_URL": database, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-n", "0", "--tb", "no", *tests]
    process = subprocess.Popen(  # noqa: S603 - pytest
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=FOREVER if forever else TEST_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return dict.fromkeys(tests, "FAILED" if forever else "TIMEOUT")
    found = {name: outcome for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) (\S+)", output, re.MULTILINE)}
    if not found and re.search(r"^SKIPPED", output, re.MULTILINE):
        return dict.fromkeys(tests, "SKIPPED")
    if not found:
        raise Stopped(f"No test ran:\n{output}")
    return found


@contextmanager
def without_defence(defence: Defence, folder: Path) -> Iterator[None]:
    file = folder / defence.file
    source = file.read_text()
    if source.count(defence.code) != 1:
        raise Stopped(f"{defence.file} has changed: update the defence '{defence.name}' in tests/attacks/defences.")
    file.write_text(source.replace(defence.code, defence.without))
    try:
        yield
    finally:
        file.write_text(source)


def test_outcome(test: str, found: dict[str, str]) -> str:
    """Return the outcome of a test; without a case in its name, FAILED if any case failed."""
    cases = [outcome for name, outcome in found.items() if name == test or name.startswith(f"{test}[")]
    return next(
        (each for each in ("FAILED", "ERROR", "SKIPPED", "TIMEOUT") if each in cases), "PASSED" if cases else "MISSING"
    )


def check_all_pass(python: Path, folder: Path, defences: Sequence[Defence], database: str) -> None:
    """Check that all tests pass with every defence in place."""
    tests = sorted({test for defence in defences for test in defence.tests})
    found = run_tests(python, folder, tests, database)
    failed = [test for test in tests if test_outcome(test, found) not in ("PASSED", "SKIPPED", "MISSING")]
    if failed:
        raise Stopped(f"Fails with every defence in place: {', '.join(failed)}.")


def try_each(python: Path, folder: Path, defences: Sequence[Defence], database: str) -> int:
    """Print a line for each test; return the number of defences whose tests all failed."""
    detected = 0
    for defence in defences:
        with without_defence(defence, folder):
            found = run_tests(python, folder, defence.tests, database, forever=defence.forever)
        results = {test: test_outcome(test, found) for test in defence.tests}
        for test, result in results.items():
            fails = {"FAILED": "yes", "SKIPPED": "skipped"}.get(result, f"NO ({result.lower()})")
            print(f"| {defence.name} | {defence.file} | {test} | fails: {fails} |", flush=True)
        detected += set(results.values()) == {"FAILED"}
    return detected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="try only defences with these words in their names")
    parser.add_argument("--trusting", action="store_true", help="don't run the tests with the defences in place first")
    given = parser.parse_args()
    selected = [each for each in DEFENCES if all(word in each.name for word in given.words)]
    if not selected:
        parser.error("no defence has these words in its name")
    with tempfile.TemporaryDirectory() as name, embedded_postgres(Path(name, "postgres"), FAST_AND_UNSAFE) as server:
        folder = Path(name, "copy")
        folder.mkdir()
        python = copy_project(folder)
        if not given.trusting:
            check_all_pass(python, folder, selected, server.url())
        print("| defence | removed from | test | |\n|---|---|---|---|", flush=True)
        detected = try_each(python, folder, selected, server.url())
    print(f"{len(selected)} defences removed, {detected} detected")
    sys.exit(detected != len(selected))


if __name__ == "__main__":
    try:
        main()
    except Stopped as stopped:
        sys.exit(str(stopped))

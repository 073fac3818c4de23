"""Every comparison of the rules is tested, or is explained: see comparisons.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lifecycle import comparisons, survivors

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_no_comparison_can_be_exchanged_unnoticed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lifecycle.comparisons"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_explained_survivor_is_a_change_of_today() -> None:
    names = {change.name for module in comparisons.MODULES for change in comparisons.changes(module)}
    assert set(survivors.SURVIVORS) <= names
    assert all(survivors.SURVIVORS.values())

"""The table of defences is correct: its code and its tests exist, and the threat model names existing tests."""

import re

import pytest

from tests.attacks.defences import DEFENCES
from tests.attacks.defences.defence import Defence
from tests.e2e.toolchain import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text()


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_a_defence_can_be_removed(defence: Defence) -> None:
    """The code that take_out.py replaces occurs exactly once, and its tests exist."""
    source = (ROOT / defence.file).read_text()
    assert source.count(defence.code) == 1, f"{defence.file} has changed: update the defence in defences/"
    compile(source.replace(defence.code, defence.without), defence.file, "exec", dont_inherit=True)
    assert defence.tests
    for test in defence.tests:
        assert_there(test)


def assert_there(test: str) -> None:
    file, *_, name = test.partition("[")[0].split("::")
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_each_defence_has_a_unique_name() -> None:
    assert len({each.name for each in DEFENCES}) == len(DEFENCES)


def test_the_page_names_existing_tests() -> None:
    """Tests are written as `tests/file.py::test_name`, or as a link to the file."""
    shown = re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE)
    assert shown
    for test in shown:
        assert_there(test)
    for path in re.findall(r"\]\(\.\./([\w/.-]+)\)", PAGE):
        assert (ROOT / path).exists(), path

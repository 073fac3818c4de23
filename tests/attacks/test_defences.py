"""The table of the defences is true: each piece of code is there, each test that shows it, and the page names them."""

import re

import pytest

from tests.attacks.defences import DEFENCES
from tests.attacks.defences.defence import Defence
from tests.e2e.toolchain import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text()


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_a_defence_can_be_taken_out(defence: Defence) -> None:
    """What take_out.py replaces is found exactly once, and its tests are where they are looked for."""
    source = (ROOT / defence.file).read_text()
    assert source.count(defence.code) == 1, f"{defence.file} has changed: say in defences/ what the defence is now"
    compile(source.replace(defence.code, defence.without), defence.file, "exec", dont_inherit=True)
    assert defence.tests
    for test in defence.tests:
        assert_there(test)


def assert_there(test: str) -> None:
    file, *_, name = test.partition("[")[0].split("::")
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_each_defence_has_a_name_of_its_own() -> None:
    assert len({each.name for each in DEFENCES}) == len(DEFENCES)


def test_the_page_shows_tests_that_there_are() -> None:
    """Each is written `tests/file.py::test_name`, or as a link to its file."""
    shown = re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE)
    assert shown
    for test in shown:
        assert_there(test)
    for path in re.findall(r"\]\(\.\./([\w/.-]+)\)", PAGE):
        assert (ROOT / path).exists(), path

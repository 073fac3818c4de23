"""Names in .env and in the environment that are nearly, but not quite, one of our settings.

pydantic-settings ignores a name that it does not know: with JOIN_POLCY=phone the service would start, and let anyone
join.
"""

import os
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream

from app.core.settings import ENV_FILE, Settings

SETTINGS = tuple(name.upper() for name in Settings.model_fields)
SHORT = 8  # letters; other programs have names of their own beside a shorter one: PORTS, WORKER, DATADIR
LONG = 14  # letters; two typing errors in fewer make another name: LIVEKIT_SIP_URL
WORD_BREAK = re.compile(r"[^A-Z0-9]+")


class Misspellings(NamedTuple):
    """`faults` refuse the start, `warnings` do not. Both begin with the name."""

    faults: list[str]
    warnings: list[str]


def find_misspellings(environment: Mapping[str, str] = os.environ, file: Path = ENV_FILE) -> Misspellings:
    """Compare each name with our settings.

    .env is ours, the environment belongs to other programs too. There a name near a short setting is only a warning,
    and a name near a setting that is set is taken for another program's.
    """
    faults = list(_faults_of_file(file))
    warnings: list[str] = []
    given = {name.upper() for name in environment}
    for name in environment:
        if (meant := nearest_setting(name)) and meant not in given:
            is_short = len(_letters(meant)) < SHORT
            (warnings if is_short else faults).append(_question(name, meant, "the environment"))
    return Misspellings(faults, warnings)


def nearest_setting(name: str) -> str | None:
    """Return the setting that was probably meant. None: the name is a setting, or near none of them."""
    name = name.upper()
    if name in SETTINGS or any(letter.isdigit() for letter in name):
        return None
    return next((setting for setting in SETTINGS if _is_near(name, setting)), None)


def _is_near(name: str, setting: str) -> bool:
    given, ours = _letters(name), _letters(setting)
    if given == ours or _singular(name) == _singular(setting):  # JOINPOLICY, JOIN-POLICY; TRUSTED_PROXY
        return True
    if len(WORD_BREAK.split(name)) != len(WORD_BREAK.split(setting)):  # TEST_DATABASE_URL
        return False
    most = 2 if len(ours) >= LONG else 1
    return abs(len(given) - len(ours)) <= most and _distance(given, ours) <= most


def _letters(name: str) -> str:
    return WORD_BREAK.sub("", name)


def _singular(name: str) -> list[str]:
    return [re.sub(r"IES$", "Y", word).removesuffix("S") for word in WORD_BREAK.split(name)]


def _distance(one: str, other: str) -> int:
    """Return how many letters were left out, added, exchanged for another, or swapped with the next."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, (previous, wanted) in enumerate(pairwise(" " + other), 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == previous and one[i - 2] == wanted:
                best = min(best, last[j - 2] + 1)
            row.append(best)
    return row[-1]


def _faults_of_file(file: Path) -> Iterator[str]:
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for binding in parse_stream(lines):
            is_read = not binding.error and binding.value is not None and "$" not in (binding.key or "")
            names = [binding.key or ""] if is_read else _names_in(binding.original.string)
            if meant := next(filter(None, map(nearest_setting, names)), None):
                yield _question(names[0], meant, file.name)
            elif not is_read and (ours := next((name for name in names if name.upper() in SETTINGS), None)):
                yield f"{ours}: its line in {file.name} can't be read; write {ours}=value"


def _names_in(line: str) -> list[str]:
    """Return what may be the name in a line that sets nothing: JOIN POLICY=phone, JOIN_POLICY phone, JOIN_POLICY:phone.

    `export`, `set` and `$env:` are how shells set a variable.
    """
    line = re.sub(r"^(?:export |set |\$env:)\s*", "", line.strip(), flags=re.IGNORECASE)
    before = re.match(r"[^=:\n]*", line)
    first = re.match(r"[\w.-]*", line)
    return [found[0].strip() for found in (first, before) if found]


def _question(given: str, meant: str, where: str) -> str:
    return f"{given} (in {where}): not a setting; did you mean {meant}?"

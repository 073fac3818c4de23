"""Which characters show something. Unicode has many that do not: spaces, directions, joiners, fillers."""

import unicodedata
from functools import lru_cache

_CATEGORIES = ("Cc", "Cf", "Cs", "Mn", "Me", "Zl", "Zp", "Zs")  # a mark shows only on a letter
_BLANK_LETTERS_AND_SYMBOLS = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc\U0001d159\U00013441\U00013442")
_RESERVED = (range(0x2065, 0x2066), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000))  # for more of the kind


@lru_cache(maxsize=4096)
def is_invisible(character: str) -> bool:
    """Return whether the character alone shows nothing. Unassigned ones show: they may be a newer Unicode's emoji."""
    if character in _BLANK_LETTERS_AND_SYMBOLS or unicodedata.category(character) in _CATEGORIES:
        return True
    return any(ord(character) in reserved for reserved in _RESERVED)


def shows_something(text: str) -> bool:
    """Return whether a reader sees anything of the text."""
    return not all(map(is_invisible, text))

"""Search: how texts are folded, so that whoever types part of a name finds it, in Arabic too."""

import unicodedata
from collections.abc import Iterator
from itertools import groupby

# Letters that people type for one another, and that Unicode does not decompose into the same one.
_ONE_LETTER = str.maketrans(
    {
        "ٱ": "ا",  # alef wasla
        "ى": "ي",  # alef maqsura
        "ی": "ي",  # Persian yeh
        "ے": "ي",
        "ة": "ه",  # teh marbuta
        "ۃ": "ه",
        "ہ": "ه",
        "ە": "ه",
        "ک": "ك",  # Persian kaf
        "ء": None,  # hamza: on a letter it is a mark
        "ٴ": None,
        "ـ": None,  # tatweel
    }
)
_LEFT_OUT = ("Mn", "Me", "Cf")  # marks such as tashkeel and accents; what is invisible, such as a direction
_OF_A_NUMBER = frozenset("0123456789+().-/")

Spelling = tuple[str, ...]
"""Words that are all to be found."""


def fold(text: str) -> str:
    """Return the text as it is compared: no case, no marks, one letter for its variants, ASCII digits, single spaces.

    Folding again changes nothing.
    """
    cased = unicodedata.normalize("NFKD", text).casefold()
    letters = map(_folded, unicodedata.normalize("NFKD", cased).translate(_ONE_LETTER))
    return " ".join(unicodedata.normalize("NFKC", "".join(letters)).split())


def _folded(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in _LEFT_OUT:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    return "-" if category == "Pd" else letter


def searchable(*, participant_name: str, job_title: str, phone_number: str) -> str:
    """Return what an interview is found by: name, job title and the phone number's digits, a line each."""
    return "\n".join((fold(participant_name), fold(job_title), _digits(fold(phone_number))))


def parse_search(typed: str) -> list[tuple[Spelling, ...]]:
    """Return what is to be found, all of it; each in any of its spellings.

    A phone number is meant by its digits, without what stands for "abroad" or "from here": 00 and 0.
    """
    wanted: list[tuple[Spelling, ...]] = []
    for is_number, words in groupby(fold(typed).split(), key=_OF_A_NUMBER.issuperset):
        if is_number:
            wanted.append(tuple(dict.fromkeys(_spellings(tuple(words)))))
        else:
            wanted += [((word,),) for word in words]
    return wanted


def _spellings(words: Spelling) -> Iterator[Spelling]:
    yield words  # a job title has numbers too
    digits = _digits(" ".join(words))
    if digits:
        yield (digits.lstrip("0") or digits,)


def _digits(number: str) -> str:
    """Return the digits, but for the (0) of +966 (0) 50, which nobody dials from abroad."""
    dialled = [letter for letter in number.replace("(0)", "") if letter.isdecimal()]
    return "".join(dialled or filter(str.isdecimal, number))

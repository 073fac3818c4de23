"""Search text: folded so that part of a name finds it, whatever its case, marks or spelling, in Arabic too."""

import unicodedata
from itertools import groupby

# letters that people use for each other, and that Unicode does not decompose into the same one
_SAME_LETTER = str.maketrans(
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
_IGNORED = ("Mn", "Me", "Cf")  # marks such as tashkeel and accents; invisible characters such as directions
_PHONE_CHARACTERS = frozenset("0123456789+().-/")

Spelling = tuple[str, ...]  # words that must all occur


def fold(text: str) -> str:
    """Return the text without case and marks, with one letter for its variants, ASCII digits and single spaces.

    Idempotent.
    """
    cased = unicodedata.normalize("NFKD", text).casefold()
    letters = map(_folded, unicodedata.normalize("NFKD", cased).translate(_SAME_LETTER))
    return " ".join(unicodedata.normalize("NFKC", "".join(letters)).split())


def _folded(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in _IGNORED:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    return "-" if category == "Pd" else letter


def searchable(*, participant_name: str, job_title: str, phone_number: str) -> str:
    """Return an interview's search text: name, job title and the phone number's digits, a line each."""
    return "\n".join((fold(participant_name), fold(job_title), _digits(fold(phone_number))))


def parse_search(typed: str) -> list[tuple[Spelling, ...]]:
    """Return the terms that must all occur, each in one of its spellings.

    A phone number also matches by its digits, without the prefixes 00 and 0.
    """
    terms: list[tuple[Spelling, ...]] = []
    for is_number, words in groupby(fold(typed).split(), key=_PHONE_CHARACTERS.issuperset):
        if not is_number:
            terms += [((word,),) for word in words]
            continue
        spellings = [tuple(words)]  # job titles have numbers too
        if digits := _digits(" ".join(spellings[0])):
            spellings.append((digits.lstrip("0") or digits,))
        terms.append(tuple(dict.fromkeys(spellings)))
    return terms


def _digits(number: str) -> str:
    """Return the digits, without the (0) of +966 (0) 50, which is not dialled from abroad."""
    dialled = [letter for letter in number.replace("(0)", "") if letter.isdecimal()]
    return "".join(dialled or filter(str.isdecimal, number))

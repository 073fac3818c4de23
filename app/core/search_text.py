"""Search text: folded so that part of a name finds it, whatever its case, marks or spelling, in Arabic too."""

import unicodedata
from itertools import chain, groupby

from app.core.phone_numbers import without_mobile_digit

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
        **dict.fromkeys("`‘’‚‛′‵ʹʻʼʽʾʿˈˊˋˮ՚׳ꞌ❛❜", "'"),  # typed for an apostrophe, or for the letters ain and hamza
        **dict.fromkeys("\u2212\u2043\u02d7", "-"),  # minus signs and a hyphen bullet, beside Unicode's dashes
    }
)
_SPACING_ACCENTS = (" \u0301", " \u0313")  # an acute accent alone, which some keyboards have where others have '
_IGNORED = ("Mn", "Me", "Cf")  # marks such as tashkeel and accents; invisible characters such as directions
_PHONE_CHARACTERS = frozenset("0123456789+().-/")

Spelling = tuple[str, ...]  # words that must all occur


def fold(text: str) -> str:
    """Return the text without case and marks, with one letter for its variants, ASCII digits and single spaces.

    Idempotent.
    """
    cased = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", cased)
    for accent in _SPACING_ACCENTS:
        decomposed = decomposed.replace(accent, "'")
    letters = map(_folded, decomposed.translate(_SAME_LETTER))
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
    digits = _digits(fold(phone_number))
    numbers = dict.fromkeys((digits, _without_mobile_digit(digits)))
    return "\n".join((searchable_words(participant_name), searchable_words(job_title), " ".join(numbers)))


def searchable_words(text: str) -> str:
    """Return the folded text. Words with apostrophes or hyphens are there as they are, in parts, and in one:

    o'brien obrien; abd-al-rahman abd al rahman abdalrahman.
    """
    return " ".join(chain.from_iterable(map(_forms, fold(text).split())))


def _forms(word: str) -> dict[str, None]:
    parts = _parts(word)
    return dict.fromkeys((word, *parts, "".join(parts)))


def _parts(word: str) -> Spelling:
    """Return the parts between hyphens, without apostrophes. A word of nothing else is its own part."""
    return tuple(filter(None, word.replace("'", "").split("-"))) or (word,)


def parse_search(typed: str) -> list[tuple[Spelling, ...]]:
    """Return the terms that must all occur, each in one of its spellings.

    A word with apostrophes or hyphens matches in one or in parts, however it is stored. A phone number also matches by
    its digits, without the prefixes 00 and 0, and without its country's mobile digit.
    """
    terms: list[tuple[Spelling, ...]] = []
    for is_number, words in groupby(fold(typed).split(), key=_PHONE_CHARACTERS.issuperset):
        if is_number:
            terms.append(_spellings_of_number(tuple(words)))
        else:
            terms += map(_spellings_of_word, words)
    return terms


def _spellings_of_word(word: str) -> tuple[Spelling, ...]:
    parts = _parts(word)
    return tuple(dict.fromkeys((("".join(parts),), parts, _parts(word.replace("'", "-")))))


def _spellings_of_number(words: Spelling) -> tuple[Spelling, ...]:
    spellings = [words, tuple(chain.from_iterable(map(_parts, words)))]  # job titles have numbers too
    if digits := _digits(" ".join(words)):
        dialled = digits.lstrip("0") or digits
        spellings += [(dialled,), (_without_mobile_digit(dialled),)]
    return tuple(dict.fromkeys(spellings))


def _without_mobile_digit(digits: str) -> str:
    return without_mobile_digit("+" + digits.removeprefix("00")).removeprefix("+") or digits


def _digits(number: str) -> str:
    """Return the digits, without the (0) of +966 (0) 50, which is not dialled from abroad."""
    dialled = [letter for letter in number.replace("(0)", "") if letter.isdecimal()]
    return "".join(dialled or filter(str.isdecimal, number))

"""Phone numbers: read as people write and paste them, in the digits of any script, and compared by their E.164 form."""

import hmac
import re
import unicodedata
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from app.core.visible_text import is_invisible

MIN_DIGITS, MAX_DIGITS = 5, 15  # E.164 has 15 at most; a number as dialled within a country may be short
_DASHES = "\u2043\u2212\u30fc\uff70"  # taken for dashes, beside those that Unicode calls so: bullet, minus, long vowel
_SEPARATORS = {"[": "(", "]": ")"} | {character: character for character in "+().-/"}
_USUAL = re.compile(r"\+?[0-9][0-9() /-]*")
# A dot with few digits or only zeros after it, or with a whole number before it: people do not group digits so.
_DECIMAL = re.compile(r"[^.]*\.(\d{1,2}|0+)|\D*\d{9,}\. ?\d[\d.]*")
# The digit that some countries put before a mobile number: Argentina and Mexico for calls from abroad, Brazil for all
# since 2016. With and without it, it is the same person's number: no other number has the digits that are left.
_MOBILE_DIGITS = {
    52: re.compile(r"(\+52)1(\d{10})"),
    54: re.compile(r"(\+54)9(\d{10})"),
    55: re.compile(r"(\+55\d\d)9([6-9]\d{7})"),
}


class UnreadablePhoneNumber(ValueError):
    """The text is no phone number. `reason` names the first character that can't be part of one, by its place."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"must be a phone number: {reason}")


def read_phone_number(text: str) -> str:
    """Return the number in ASCII: its digits and the characters + ( ) . - / and space. Raises UnreadablePhoneNumber.

    Characters that show nothing are left out: copied from contacts, a number has marks of direction around it.
    """
    if _USUAL.fullmatch(text):  # in a tenth of the time
        return text.strip()
    read = ""
    for position, character in enumerate(text, start=1):
        plain = _plain(character)
        if plain is None or (plain == "+" and read.strip(" (")):  # a + comes first, or after a bracket
            raise UnreadablePhoneNumber(f"{_named(character, position)} can't be part of it")
        read += plain
    read = read.strip()
    if not _digits(read):
        raise UnreadablePhoneNumber("it has no digits")
    if _DECIMAL.fullmatch(read):
        point = next(position for position, character in enumerate(text, start=1) if _plain(character) == ".")
        raise UnreadablePhoneNumber(f"{_named(text[point - 1], point)} makes it a decimal number, as in a spreadsheet")
    return read


@lru_cache(maxsize=4096)
def _plain(character: str) -> str | None:
    """Return the character in ASCII, empty if it shows nothing. None: it can't be part of a phone number."""
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    category = unicodedata.category(character)
    if category == "Zs" or character in "\t\r\n":
        return " "
    if category == "Pd" or character in _DASHES:
        return "-"
    if category not in ("Cc", "Cs") and is_invisible(character):
        return ""
    return _SEPARATORS.get(unicodedata.normalize("NFKC", character))


def _named(character: str, position: int) -> str:
    shown = f'"{character}"' if character.isprintable() else f"U+{ord(character):04X}"
    return f"the character {shown} at position {position}"


def has_usual_length(text: str) -> bool:
    """Return whether a number that can be read has as many digits as phone numbers have, with or without 00."""
    return MIN_DIGITS <= len(_international(read_phone_number(text))) - 1 <= MAX_DIGITS


def is_whole_number(text: str) -> bool:
    """Return whether the text is a person's whole number with its country code, with or without a + or 00 before it."""
    number = _parse_international(read_phone_number(text))
    if number is None or phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return False
    if phonenumbers.region_code_for_number(number) == "001":  # of no country, such as those of satellite phones
        return True
    kind = PhoneNumberType.FIXED_LINE_OR_MOBILE
    return phonenumbers.is_possible_number_for_type_with_reason(number, kind) == ValidationResult.IS_POSSIBLE


def parse_on_file(text: str) -> PhoneNumber | None:
    """Return a stored number, None if it has no country code.

    Earlier releases stored what is refused now. Then it is what was meant: the digits, without the fraction of a
    spreadsheet's number; and it need not be whole.
    """
    try:
        read = read_phone_number(text)
    except UnreadablePhoneNumber:
        read = re.sub(r"\.0+\s*$", "", text)
        read = "".join(str(unicodedata.decimal(character)) for character in read if character.isdecimal())
    return _parse_international(read)


def is_same_number(on_file: PhoneNumber, text: str) -> bool:
    """Return whether the text is the number on file, in international form or as dialled within its country.

    Raises UnreadablePhoneNumber, whatever is on file. A wrong number's response time reveals nothing; a right one's may
    differ, as the response itself says so.
    """
    read = read_phone_number(text)
    expected = _e164(on_file)
    if hmac.compare_digest(expected, _international(read).encode()):  # the usual case, without parsing
        return True
    region = phonenumbers.region_code_for_number(on_file)
    numbers = (_parse_international(read), None if "+" in read else _parse(_digits(read), region))
    international, national = (hmac.compare_digest(expected, _e164(number)) for number in numbers)
    return international | national


def _international(read: str) -> str:
    return "+" + _digits(read).removeprefix("00")


def _digits(read: str) -> str:
    return "".join(filter(str.isdecimal, read))


def _parse_international(read: str) -> PhoneNumber | None:
    """Parse with the 0 of "+44 (0)20" first: where it is dialled within the country only, parsing removes it.

    Where numbers never begin with it, it is no part of the number; in Italy it is.
    """
    number = _parse(_international(read), None)
    return number if number or "(0)" not in read else _parse(_international(read.replace("(0)", "")), None)


def _parse(digits: str, region: str | None) -> PhoneNumber | None:
    """Return the number without its country's mobile digit, None if none is as long."""
    try:
        number = phonenumbers.parse(without_mobile_digit(digits), region)
        if number.country_code in _MOBILE_DIGITS:  # dialled within the country, it may have the digit now
            number = phonenumbers.parse(without_mobile_digit(_e164(number).decode()), None)
    except NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) else None


def without_mobile_digit(number: str) -> str:
    """Return a number in E.164 form without its country's mobile digit; any other text unchanged."""
    matches = (pattern.fullmatch(number) for pattern in _MOBILE_DIGITS.values())
    return next(("".join(match.groups()) for match in matches if match), number)


def _e164(number: PhoneNumber | None) -> bytes:
    return b"" if number is None else phonenumbers.format_number(number, PhoneNumberFormat.E164).encode()

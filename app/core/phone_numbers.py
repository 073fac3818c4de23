"""Phone numbers, compared by their E.164 form, in any spelling and with the digits of any script."""

import hmac
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat


def parse_international(text: str) -> PhoneNumber | None:
    """Return the number of a text with a country code, with or without a + or 00 before it; None if it has none."""
    return _parse(_international(text), None)


def is_same_number(on_file: PhoneNumber, text: str) -> bool:
    """Return whether the text is the number on file, in international form or as dialled within its country.

    A wrong number's response time reveals nothing; a right one's may differ, as the response itself says so.
    """
    expected = _e164(on_file)
    if hmac.compare_digest(expected, _international(text).encode()):  # the usual case, without parsing
        return True
    region = phonenumbers.region_code_for_number(on_file)
    numbers = (parse_international(text), None if "+" in text else _parse(_digits(text), region))
    international, national = (hmac.compare_digest(expected, _e164(number)) for number in numbers)
    return international | national


def _international(text: str) -> str:
    return "+" + _digits(text).removeprefix("00")


def _digits(text: str) -> str:
    """Return the decimal digits of any script as ASCII digits, without the characters between them."""
    if text.isascii():
        return "".join(filter(str.isdecimal, text))  # in a quarter of the time
    return "".join(str(unicodedata.decimal(character)) for character in text if character.isdecimal())


def _parse(digits: str, region: str | None) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) else None


def _e164(number: PhoneNumber | None) -> bytes:
    return b"" if number is None else phonenumbers.format_number(number, PhoneNumberFormat.E164).encode()

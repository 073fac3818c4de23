"""Phone numbers, compared by their E.164 form: in whatever way, and whatever digits, somebody writes them."""

import hmac
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat


def parse_international(written: str) -> PhoneNumber | None:
    """Return the number that is written with its country code, the + or 00 before it or not; None if it is none."""
    return _parse(_international(written), None)


def is_same_number(on_file: PhoneNumber, said: str) -> bool:
    """Tell whether the number on file is what somebody says: as above, or as dialled at home.

    Who is wrong learns nothing by the time that it takes; who is right is told anyway.
    """
    known = _e164(on_file)
    if hmac.compare_digest(known, _international(said).encode()):  # as it is written on file: not parsed
        return True
    at_home = phonenumbers.region_code_for_number(on_file)
    found = (parse_international(said), None if "+" in said else _parse(_digits(said), at_home))
    international, national = (hmac.compare_digest(known, _e164(each)) for each in found)
    return international | national


def _international(written: str) -> str:
    return "+" + _digits(written).removeprefix("00")


def _digits(written: str) -> str:
    """Return the decimal digits, of any script, as ASCII's; what stands between them is left out."""
    if written.isascii():
        return "".join(filter(str.isdecimal, written))  # in a quarter of the time
    return "".join(str(unicodedata.decimal(letter)) for letter in written if letter.isdecimal())


def _parse(digits: str, region: str | None) -> PhoneNumber | None:
    try:
        found = phonenumbers.parse(digits, region)
    except NumberParseException:
        return None
    return found if phonenumbers.is_possible_number(found) else None


def _e164(number: PhoneNumber | None) -> bytes:
    return b"" if number is None else phonenumbers.format_number(number, PhoneNumberFormat.E164).encode()

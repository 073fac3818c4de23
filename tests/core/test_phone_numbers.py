"""Phone numbers: one number in many spellings, and other numbers that look similar."""

from time import process_time

import pytest

from app.core.phone_numbers import (
    UnreadablePhoneNumber,
    has_usual_length,
    is_same_number,
    is_whole_number,
    parse_on_file,
    read_phone_number,
)

SAUDI = "966509876543"  # the seed's, without a +
SPELLINGS = [
    "966509876543",
    "+966509876543",
    "00966509876543",
    "+966 50 987 6543",
    "+966-50-987-6543",
    "(+966) 50.987/6543",
    "00966 (50) 987 6543",
    "+966 (0)50 987 6543",
    "٩٦٦٥٠٩٨٧٦٥٤٣",
    "+٩٦٦ ٥٠ ٩٨٧ ٦٥٤٣",  # noqa: RUF001 - Arabic-Indic digits
    "۰۰۹۶۶۵۰۹۸۷۶۵۴۳",
    "\u200e+966\u00a050\u202f987\u20106543\u200f",
    "+966509876543",
    "0509876543",
    "٠٥٠ ٩٨٧ ٦٥٤٣",  # noqa: RUF001 - Arabic-Indic digits
    "50 987 6543",
    "\u202a+966 50 987 6543\u202c",  # as pasted from a phone's contacts
    "\u2066+966\u20115098\u200b76543\u2069\ufeff",
    "\u00ad966\u2007509\u2212876\u30fc543\r\n",  # an odd space, and signs that look like a dash
    "+९६६५०९८७६५४३",  # Devanagari
    "\uff0b\uff19\uff16\uff16\uff08\uff15\uff10\uff09\uff0d987\uff0e\uff16543",  # fullwidth
    "[+966] 50 987 6543",
]  # fmt: skip
WRONG = [
    "0", "966509876544", "+966509876542", "96650987654", "9665098765433", "509876544",
    "+1509876543", "+971509876543", "00971509876543", "+0509876543", "+509876543", "6543", "9" * 1000,
]  # fmt: skip
UNREADABLE = {
    "966509876543.0": 'the character "." at position 13 makes it a decimal number, as in a spreadsheet',
    "+966509876543.00": 'the character "." at position 14 makes it a decimal number, as in a spreadsheet',
    "+966 50 987 6543.0": 'the character "." at position 17 makes it a decimal number, as in a spreadsheet',
    "966509876543. 0": 'the character "." at position 13 makes it a decimal number, as in a spreadsheet',
    "966509876543.125": 'the character "." at position 13 makes it a decimal number, as in a spreadsheet',
    "966509876543.0.0": 'the character "." at position 13 makes it a decimal number, as in a spreadsheet',
    "96650987654.3": 'the character "." at position 12 makes it a decimal number, as in a spreadsheet',
    "966509876543\uff0e\u0660": 'the character "\uff0e" at position 13 makes it a decimal number, as in a spreadsheet',
    "509876543E+3": 'the character "E" at position 10 can\'t be part of it',
    "9.66509876543e11": 'the character "e" at position 14 can\'t be part of it',
    "966,509,876,543": 'the character "," at position 4 can\'t be part of it',
    "\u202a966509876543x1": 'the character "x" at position 14 can\'t be part of it',
    "0509876543 / +966509876543": 'the character "+" at position 14 can\'t be part of it',
    "++966509876543": 'the character "+" at position 2 can\'t be part of it',
    "96650987654²": 'the character "²" at position 12 can\'t be part of it',
    "call me": 'the character "c" at position 1 can\'t be part of it',
    "9665\x0009": "the character U+0000 at position 5 can't be part of it",
    "\ud800": "the character U+D800 at position 1 can't be part of it",
    **dict.fromkeys(("", " ", "+", "-", "\u202e\u2800"), "it has no digits"),
}


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("written", ["966509876543", "+966 50 987-6543", "00966509876543", "٩٦٦٥٠٩٨٧٦٥٤٣"])
def test_one_number_in_any_spelling(written: str, text: str) -> None:
    on_file = parse_on_file(written)
    assert on_file is not None
    assert is_same_number(on_file, text)


@pytest.mark.parametrize("text", WRONG, ids=ascii)
def test_a_different_number(text: str) -> None:
    on_file = parse_on_file(SAUDI)
    assert on_file is not None
    assert not is_same_number(on_file, text)


@pytest.mark.parametrize(
    ("written", "national"),
    [
        ("+971 50 123 4567", "050 123 4567"),
        ("20 100 123 4567", "0100 123 4567"),
        ("+39 06 698 12345", "06 698 12345"),  # Italy keeps the 0
        ("+1 415 555 2671", "(415) 555-2671"),
        ("+44 20 7946 0958", "020 7946 0958"),
        ("+962 7 9012 3456", "0790123456"),
    ],
)
def test_a_number_as_dialled_within_its_country(written: str, national: str) -> None:
    on_file = parse_on_file(written)
    assert on_file is not None
    assert is_same_number(on_file, national)
    assert is_same_number(on_file, written)
    assert not is_same_number(on_file, national[:-1] + "0")


@pytest.mark.parametrize(("text", "reason"), UNREADABLE.items(), ids=ascii)
def test_what_cannot_be_read_is_named(text: str, reason: str) -> None:
    """And digits are not joined across it: 966509876543.0 is no number ending in 0."""
    on_file = parse_on_file(SAUDI)
    assert on_file is not None
    for read in (read_phone_number, has_usual_length, is_whole_number, lambda given: is_same_number(on_file, given)):
        with pytest.raises(UnreadablePhoneNumber) as raised:
            read(text)
        assert raised.value.reason == reason


@pytest.mark.parametrize("text", ["01.23.45.67.00", "+33 1.23.45.67.89", "555.0100", "+49 (30) 1234-0", "0.50.98.76"])
def test_dots_between_groups_of_digits_are_read(text: str) -> None:
    assert read_phone_number(text) == text


@pytest.mark.parametrize("text", ["(" * 60_000 + "x", " " * 60_000 + "x", "1" * 60_000 + "x", "1 " * 30_000 + "x"])
def test_reading_takes_time_in_proportion_to_the_length(text: str) -> None:
    start = process_time()
    with pytest.raises(UnreadablePhoneNumber):
        read_phone_number(text)
    assert process_time() - start < 1


@pytest.mark.parametrize(
    "written",
    [
        *("0509876543", "12345", "000000", "99999999999999999999", "+999 123 456 789"),
        *("+4912", "+12530000", "+1 555 0100", "+966 50 987 654", "9665098765430", "+43 1 12"),  # too short or too long
    ],
)
def test_what_is_not_a_whole_number(written: str) -> None:
    assert not is_whole_number(written)


@pytest.mark.parametrize("written", [*SPELLINGS[:6], "+683 4002", "+500 12345", "+1 555 555 0100", "+881 6 1234 5678"])
def test_what_is_a_whole_number(written: str) -> None:
    assert is_whole_number(written)


@pytest.mark.parametrize("written", ["0509876543", "000000", "99999999999999999999", "+999 123 456 789"])
def test_a_number_on_file_without_a_country_code_cannot_be_compared(written: str) -> None:
    assert parse_on_file(written) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [("966509876543.0", SAUDI), ("+966 50 987 6543.00", SAUDI), ("966+509876543", SAUDI), ("+12530000", "12530000")],
)
def test_what_earlier_releases_stored_is_compared_by_what_was_meant(written: str, meant: str) -> None:
    on_file = parse_on_file(written)
    assert on_file is not None
    assert is_same_number(on_file, meant)
    assert not is_same_number(on_file, meant + "0")


MOBILE = {
    "+54 11 2345-6789": ["+54 9 11 2345-6789", "5491123456789", "011 15 2345-6789", "9 11 2345-6789", "11 2345-6789"],
    "+52 55 1234 5678": ["+52 1 55 1234 5678", "005215512345678", "55 1234 5678"],
    "+55 11 6123-4567": ["+55 11 96123-4567", "5511961234567", "(11) 96123-4567", "011 6123-4567"],
}


@pytest.mark.parametrize(("written", "others"), MOBILE.items())
def test_with_and_without_the_digit_of_mobile_numbers_it_is_the_same(written: str, others: list[str]) -> None:
    for one in (written, *(other for other in others if other.startswith(("+", "5", "00")) and len(other) > 12)):
        on_file = parse_on_file(one)
        assert on_file is not None
        assert is_whole_number(one)
        for other in (written, *others):
            assert is_same_number(on_file, other), (one, other)
            assert not is_same_number(on_file, other[:-1] + "0")


def test_a_landline_in_brazil_has_no_digit_to_leave_out() -> None:
    on_file = parse_on_file("+55 11 2123-4567")
    assert on_file is not None
    assert not is_same_number(on_file, "+55 11 92123-4567")


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("+44 (0)20 7946 0958", "+442079460958"),
        ("+351 (0)21 234 5678", "+351212345678"),
        ("+39 (0)6 698 12345", "+390669812345"),
    ],
)
def test_a_zero_in_brackets_is_dialled_where_numbers_have_one(written: str, same: str) -> None:
    for on_file, typed in ((written, same), (same, written)):
        number = parse_on_file(on_file)
        assert number is not None
        assert is_same_number(number, typed)
    assert is_whole_number(written)


def test_a_number_without_a_known_region_is_compared_too() -> None:
    on_file = parse_on_file("+1 555 555 0100")
    assert on_file is not None
    assert is_same_number(on_file, "15555550100")
    assert not is_same_number(on_file, "15555550101")

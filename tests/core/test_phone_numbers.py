"""Phone numbers: one number in many spellings, and other numbers that look similar."""

import pytest

from app.core.phone_numbers import is_same_number, parse_international

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
]  # fmt: skip
WRONG = [
    "", " ", "+", "abc", "0", "966509876544", "+966509876542", "96650987654", "9665098765433", "509876544",
    "+1509876543", "+971509876543", "00971509876543", "+0509876543", "+509876543", "6543", "9" * 1000, "\ud800", "\0",
    "-966509876543x1",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("written", ["966509876543", "+966 50 987-6543", "00966509876543", "٩٦٦٥٠٩٨٧٦٥٤٣"])
def test_one_number_in_any_spelling(written: str, text: str) -> None:
    on_file = parse_international(written)
    assert on_file is not None
    assert is_same_number(on_file, text)


@pytest.mark.parametrize("text", WRONG, ids=ascii)
def test_a_different_number(text: str) -> None:
    on_file = parse_international(SAUDI)
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
    on_file = parse_international(written)
    assert on_file is not None
    assert is_same_number(on_file, national)
    assert is_same_number(on_file, written)
    assert not is_same_number(on_file, national[:-1] + "0")


@pytest.mark.parametrize("written", ["0509876543", "12345", "000000", "99999999999999999999", "+999 123 456 789"])
def test_what_is_not_an_international_number(written: str) -> None:
    assert parse_international(written) is None


def test_a_number_without_a_known_region_is_compared_too() -> None:
    on_file = parse_international("+1 555 0100")
    assert on_file is not None
    assert is_same_number(on_file, "15550100")
    assert not is_same_number(on_file, "15550101")

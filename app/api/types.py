"""The values on the wire: what each may be, and how it is written."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from app.core.timestamps import rfc3339

LONGEST_NAME = 256  # bytes of UTF-8: LiveKit's limit of a participant's name
FEWEST_DIGITS = 5
FURTHEST = timedelta(days=3660)


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    if any("\ud800" <= letter <= "\udfff" for letter in value):  # JSON's escapes can spell half a character
        raise ValueError("must not contain lone surrogates")
    return value


def json_within(largest: int) -> AfterValidator:
    """Return the check that a value can be stored as JSON, in at most so many bytes of UTF-8."""

    def check(value: JsonValue) -> JsonValue:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # NaN and Infinity, which are no JSON; UnicodeEncodeError of lone surrogates
            raise ValueError("must be JSON: no NaN, no Infinity, no lone surrogates") from error
        if len(text) > largest:
            raise ValueError(f"must be at most {largest} bytes as JSON")
        if "\0" in _texts(value):
            raise ValueError("must not contain the character NUL")
        return value

    return AfterValidator(check)


def _texts(value: JsonValue) -> str:
    """Return all strings and keys in the value, joined."""
    if isinstance(value, dict):
        return "".join([*value, *map(_texts, value.values())])
    if isinstance(value, list):
        return "".join(map(_texts, value))
    return value if isinstance(value, str) else ""


def _within_name_limit(value: str) -> str:
    if len(value.encode()) > LONGEST_NAME:
        raise ValueError(f"must be at most {LONGEST_NAME} bytes of UTF-8")
    return value


def _written_out(value: object) -> object:
    """Numbers are no instants here: nobody could tell whether they are seconds or milliseconds."""
    if isinstance(value, str) and "T" in value.upper():
        return value
    if isinstance(value, datetime):
        return value
    raise ValueError("must be an RFC 3339 instant, such as 2026-11-22T09:00:00Z")


def _not_far_away(value: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now - FURTHEST < value < now + FURTHEST:
        raise ValueError("must be within ten years from now")
    return value


def _in_the_calendar(value: datetime) -> datetime:
    if not 1970 <= value.year < 9999:  # beyond, another time zone may have no name for it
        raise ValueError("must be a year from 1970 to 9998")
    return value


def in_the_future(value: datetime | None) -> datetime | None:
    if value and value <= datetime.now(UTC):
        raise ValueError("must be in the future")
    return value


def _a_number(value: str) -> str:
    if sum(letter.isdecimal() for letter in value) < FEWEST_DIGITS:
        raise ValueError(f"must have {FEWEST_DIGITS} digits or more")
    return value


def _whole(value: object) -> object:
    """JSON has one kind of number: 1800.0 is an integer, "1800" and true are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


MaxDuration = Annotated[int, Strict(), Field(ge=60, le=14_400, description="seconds"), BeforeValidator(_whole)]
TEXT_OR_NUMBER: JsonDict = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}
"""What the document says of a text for which its digits may come as a JSON number."""
Text = Annotated[str, AfterValidator(_storable)]
ParticipantName = Annotated[Text, AfterValidator(_within_name_limit)]
OpaqueId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$", description="1 to 128 printable ASCII characters")]
PhoneNumber = Annotated[
    str,
    AfterValidator(_a_number),
    Field(
        pattern=r"^[\d +().\-/]{5,40}$",
        description="Kept as given: digits of any script, spaces, + ( ) . - /",
        examples=["966509876543"],
    ),
]
Instant = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
AnyInstant = Annotated[AwareDatetime, AfterValidator(_in_the_calendar), BeforeValidator(_written_out)]
GivenInstant = Annotated[AwareDatetime, AfterValidator(_not_far_away), BeforeValidator(_written_out)]


class Shape(BaseModel):
    """Camel case outside, snake case inside."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

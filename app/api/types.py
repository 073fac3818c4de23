"""The types of the values on the wire: what each allows, and how it is written."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self, TypeVar

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

from app.core.phone_numbers import MAX_DIGITS, MIN_DIGITS, has_usual_length
from app.core.timestamps import rfc3339
from app.core.validation_messages import ID_PATTERN, INSTANT
from app.core.visible_text import shows_something

MAX_NAME_BYTES = 256  # of UTF-8: LiveKit's limit for a participant's name
MAX_PHONE_LENGTH = 64  # characters
MAX_EXACT = 2**53  # above, a JSON number may have lost digits
Value = TypeVar("Value")
MAX_DISTANCE = timedelta(days=3660)


def must(is_valid: Callable[[Any], bool], message: str) -> AfterValidator:
    """Return the check that refuses a value with the message, unless `is_valid` returns True."""

    def check(value: Value) -> Value:
        if not is_valid(value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def json_within(max_bytes: int) -> AfterValidator:
    """Return the check that a value can be stored as JSON, in at most `max_bytes` of UTF-8."""

    def check(value: JsonValue) -> JsonValue:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # NaN and Infinity; UnicodeEncodeError for lone surrogates
            raise ValueError("must be JSON: no NaN, no Infinity, no lone surrogates") from error
        if len(text) > max_bytes:
            raise ValueError(f"must be at most {max_bytes} bytes as JSON")
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


def _check_instant(value: object) -> object:
    """Refuse numbers, which could be seconds or milliseconds, and dates without a time."""
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value.upper()):
        return value
    raise ValueError(INSTANT)


def in_the_future(value: datetime | None) -> datetime | None:
    """Return the value. Raises ValueError if it is not in the future."""
    if value and value <= datetime.now(UTC):
        raise ValueError("must be in the future")
    return value


def _integral(value: object) -> object:
    """Accept 1800.0 as an integer, as JSON has one kind of number; "1800" and true stay refused."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number_as_text(value: object) -> object:
    """Return a JSON number's digits: 966509876543.0 is 966509876543, as JSON has one kind of number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = _integral(value)
    if not (isinstance(number, int) and 0 <= number < MAX_EXACT):
        raise ValueError("must be a phone number: send it as a string")
    return str(number)


MaxDuration = Annotated[int, Strict(), Field(ge=60, le=14_400, description="seconds"), BeforeValidator(_integral)]
WholeNumber = Annotated[int, Strict(), BeforeValidator(_integral)]
TEXT_OR_NUMBER: JsonDict = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]}
"""The JSON schema of an optional string that may also be sent as a JSON number."""
Text = Annotated[
    str,
    must(lambda value: "\0" not in value, "must not contain the character NUL"),
    # JSON's escapes can spell half a character
    must(lambda value: not re.search("[\ud800-\udfff]", value), "must not contain lone surrogates"),
]
VisibleText = Annotated[Text, Field(min_length=1), must(shows_something, "must have a character that can be seen")]
"""A text that people read: spaces and invisible characters alone would show nothing."""
ParticipantName = Annotated[
    VisibleText,
    must(lambda value: len(value.encode()) <= MAX_NAME_BYTES, f"must be at most {MAX_NAME_BYTES} bytes of UTF-8"),
]
RoomName = Annotated[
    str,
    Field(max_length=256, description="The agent's room", examples=["interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"]),
]
ParticipantIdentity = Annotated[
    Text,
    Field(min_length=1, max_length=256, description="The agent's identity in LiveKit", examples=["agent-AJ_aFq2"]),
]
OpaqueId = Annotated[str, Field(pattern=ID_PATTERN, description="1 to 128 printable ASCII characters")]
GivenPhoneNumber = Annotated[str, BeforeValidator(_number_as_text)]
"""Any text, or a JSON number, which becomes its digits."""
PhoneNumber = Annotated[
    GivenPhoneNumber,
    must(lambda value: len(value) <= MAX_PHONE_LENGTH, f"must have {MAX_PHONE_LENGTH} characters or fewer"),
    must(has_usual_length, f"must have {MIN_DIGITS} to {MAX_DIGITS} digits"),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": MAX_PHONE_LENGTH}, {"type": "number"}]}),
    Field(
        description="Kept as given: digits of any script, spaces, dashes, + ( ) . and /. Characters that show nothing "
        "are allowed, as they come with a number copied from contacts",
        examples=["966509876543"],
    ),
]
Instant = Annotated[
    datetime, PlainSerializer(rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
AnyInstant = Annotated[
    AwareDatetime,
    # other years can overflow in another time zone
    must(lambda value: 1970 <= value.year < 9999, "must be a year from 1970 to 9998"),
    BeforeValidator(_check_instant),
]
GivenInstant = Annotated[
    AwareDatetime,
    must(lambda value: abs(value - datetime.now(UTC)) < MAX_DISTANCE, "must be within ten years from now"),
    BeforeValidator(_check_instant),
]


class Shape(BaseModel):
    """A model whose fields are camelCase on the wire and snake_case in Python."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    @classmethod
    def copy_of(cls, row: object, **computed: Any) -> Self:
        """Copy the attributes that have the names of fields; `computed` has the other fields."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields.keys() - computed.keys()}, **computed)

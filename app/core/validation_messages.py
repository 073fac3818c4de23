"""What is wrong with a value, in our words: callers and operators never read pydantic's."""

from collections.abc import Mapping
from typing import Any

ID_PATTERN = r"^[\x21-\x7e]{1,128}$"
LINE_ID_PATTERN = r"^[\x20-\x7e]{1,64}$"
PATTERN_MESSAGES = {
    ID_PATTERN: "must be 1 to 128 printable ASCII characters without spaces",
    LINE_ID_PATTERN: "must be 1 to 64 printable ASCII characters",
}

INSTANT = "must be an RFC 3339 instant, such as 2026-11-22T09:00:00Z"

# By the type of pydantic's error. Each takes the values of the error's context.
MESSAGES = {
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("datetime_from_date_parsing", "datetime_object_invalid", "datetime_parsing"), INSTANT),
    **dict.fromkeys(("dict_type", "model_attributes_type", "model_type"), "must be a JSON object"),
    **dict.fromkeys(("enum", "literal_error"), "must be {expected}"),
    **dict.fromkeys(("int_from_float", "int_parsing", "int_type"), "must be an integer"),
    **dict.fromkeys(("string_too_long", "url_too_long"), "must have {max_length} characters or fewer"),
    **dict.fromkeys(
        ("url_parsing", "url_syntax_violation", "url_type"),
        "must be a URL, such as https://hiring.example.com/webhooks",
    ),
    **dict.fromkeys(("uuid_parsing", "uuid_type"), "must be a UUID"),
    "datetime_type": INSTANT,
    "extra_forbidden": "is not a field of this call",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "int_parsing_size": "must have fewer digits",
    "invalid-json-value": "must be JSON",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "list_type": "must be a list",
    "missing": "is required",
    "recursion_depth_exceeded": "must not be nested so deeply",
    "string_too_short": "must have {min_length} characters or more",
    "string_type": "must be a string",
    "string_unicode": "must not contain lone surrogates",
    "timezone_aware": "must say its time zone, as in 2026-01-31T09:00:00Z",
    "too_long": "must have {max_length} entries or fewer",
    "too_short": "must have {min_length} entries or more",
    "url_scheme": "must be a URL that begins with https://",
}


def message_of(error: Mapping[str, Any]) -> str:
    """Return what is wrong, from one of `ValidationError.errors()`. It never holds the value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":  # raised by a validator of ours
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return PATTERN_MESSAGES.get(context["pattern"], "is not valid")
    if context.get("min_length") == 1:
        return "must not be empty"
    if kind == "too_long" and context["field_type"] == "Value":  # a string that a validator of ours has returned
        kind = "string_too_long"
    return MESSAGES.get(kind, "is not valid").format_map(context)

"""What schemathesis can't know: who signs what, when an interview may be, and the rules beyond JSON Schema."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import strategies
from requests import PreparedRequest, Request
from schemathesis import AuthContext, Case, HookContext, Response
from schemathesis.core.failures import Failure

from tests import livekit_webhooks
from tests.conftest import API_KEY

# Rules that no JSON schema can state. A request that keeps to its schema may be refused for them, and for no other.
CODES = {
    "cursor_invalid",  # a cursor is what the page before gave
    "interview_erased",  # by a call before
    "token_too_large",  # of all texts together
    "token_field_not_allowed",  # depends on the interview
    "precondition_failed",  # depends on what the interview's ETag is
}
MESSAGES = {
    "must be within ten years from now",
    "must be in the future",
    "must be after opensAt",
    "must be after from",
    "must be at most 31 days after from",
    'must be * or entity tags in double quotes, separated by commas, such as "7"',
    "must be at most 256 bytes of UTF-8",
    "must be at most 262144 bytes as JSON",
    "must be at most 65536 bytes as JSON",
    "needs attempt too, because positions begin again with each attempt",
    "must be JSON: no NaN, no Infinity, no lone surrogates",
    "must have 5 to 15 digits",
    "must have a character that can be seen",
    "must not contain the character NUL",
    "must not contain lone surrogates",
    "must not be nested deeper than 8 levels",
}

# The most of what is generated lies where an interview can be; what lies elsewhere is refused by MESSAGES.
soon = strategies.floats(60, 86_400 * 365).map(lambda ahead: datetime.now(UTC) + timedelta(seconds=ahead))
schemathesis.openapi.format("date-time", soon.map(datetime.isoformat))


@schemathesis.auth()
class Callers:
    """A platform with its key; LiveKit, which signs the very bytes that it sends."""

    def get(self, case: Case[Any], context: AuthContext) -> str:
        if context.operation.path != "/webhooks/livekit":
            return f"Bearer {API_KEY}"
        return livekit_webhooks.sign(_body_of(case))

    def set(self, case: Case[Any], data: str, context: AuthContext) -> None:
        case.headers["Authorization"] = data


def _body_of(case: Case[Any]) -> bytes:
    sent: dict[str, Any] = {key: value for key, value in case.as_transport_kwargs().items() if key in ("json", "data")}
    prepared: PreparedRequest = Request("POST", "http://livekit", **sent).prepare()
    body = prepared.body
    return body if isinstance(body, bytes) else str(body or "").encode()


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Drop a refusal by a rule that is named above: the one thing that our checks let pass."""
    if type(failure).__name__ != "RejectedPositiveData" or "json" not in str(response.headers.get("content-type")):
        return True
    problem = json.loads(response.content)
    said = {each["message"] for each in problem.get("errors", [])}
    return not (problem["code"] in CODES or (said and all(map(_is_named, said))))


def _is_named(message: str) -> bool:
    return message in MESSAGES or message.startswith("must be a phone number: ")  # and the reason


@schemathesis.hook("map_headers")
def with_any_etag(context: HookContext, headers: dict[str, str] | None) -> dict[str, str] | None:
    """An ETag that was guessed is refused, and nothing behind it is tried: mostly whichever there is will do."""
    if headers and "If-Match" in headers and headers["If-Match"] != '"7"':
        headers["If-Match"] = "*"
    return headers

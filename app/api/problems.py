"""Errors as RFC 9457 problem documents, in responses and in the OpenAPI document."""

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, get_args

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.core import errors
from app.core.errors import AppError
from app.core.logging import request_id
from app.core.timestamps import rfc3339
from app.core.validation_messages import message_of

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
NOT_FOUND: dict[str, type[AppError]] = {
    "endpoint_id": errors.WebhookEndpointNotFound,
    "delivery_id": errors.DeliveryNotFound,
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_SUGGESTIONS = 20  # a request: a body can have thousands of unknown fields, and each comparison takes time
MAX_SUGGESTED_LENGTH = 64  # characters: the same


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(examples=["maxDuration"])
    message: str = Field(examples=["must be 60 or more"])


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `detail` says what to do; `requestId` finds the request in the logs."""

    model_config = ConfigDict(extra="allow")

    title: str
    status: int
    detail: str
    code: str
    requestId: str
    errors: list[FieldError] | None = None


def problem(
    *, code: str, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None, **extra: Any
) -> Response:
    body = {"title": title, "status": status, "detail": detail, "code": code, "requestId": request_id.get(), **extra}
    content = orjson.dumps(body, default=rfc3339, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return Response(content, status, {**(headers or {}), "Cache-Control": "no-store"}, MEDIA_TYPE)


def error_responses(*added: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for the errors of a call, with an example each. InternalError is always there."""
    responses: dict[int | str, dict[str, Any]] = {}
    add_error_responses(responses, *added, errors.InternalError)
    return responses


def add_error_responses(responses: dict[int | str, dict[str, Any]], *added: type[AppError]) -> None:
    """Add errors to the result of `error_responses`; an error that is there already is not repeated."""
    slow = (
        (errors.RequestTooSlow,) if errors.BodyTooLarge in added else ()
    )  # a call with a body can receive it too slowly
    for error in (*added, *slow):
        value = {
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "requestId": "0b7c7c2f5d1e4c7b",
            **error.example,
        }
        examples = examples_of(responses.get(error.status))
        responses[error.status] = error_response({**examples, error.code: {"summary": error.title, "value": value}})


def error_response(examples: dict[str, Any]) -> dict[str, Any]:
    """Return the documented response of one status. Without `model`: FastAPI reads it before ApiRoute adds errors."""
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
    description = "; ".join(example["summary"] for example in examples.values())
    return {"description": description, "content": {MEDIA_TYPE: content}}


def examples_of(response: dict[str, Any] | None) -> dict[str, Any]:
    examples: dict[str, Any] = response["content"][MEDIA_TYPE]["examples"] if response else {}
    return examples


def install(app: FastAPI) -> None:
    """Turn every error of the app into a problem document."""
    app.add_exception_handler(AppError, on_app_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(
        Exception, lambda *_: problem_of(errors.InternalError())
    )  # app.api.middleware gets it too, and logs it


def on_app_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101 - the type that it is registered for
    if error.status >= 500:
        log.warning("%s: %r", error.code, error.__cause__)
    return problem_of(error)


def problem_of(error: AppError) -> Response:
    return problem(
        code=error.code,
        status=error.status,
        title=error.title,
        detail=error.sentence,
        headers=error.headers,
        **error.extra,
    )


def on_invalid_request(request: Request, error: Exception) -> Response:
    """Name each field and what it must be. Never echo its value: it may be a phone number."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the type that it is registered for
    faults = error.errors()
    for fault in faults:
        if fault["loc"][0] == "path":  # an invalid id is answered like an unknown one
            return on_app_error(request, NOT_FOUND.get(str(fault["loc"][1]), errors.InterviewNotFound)())
    hints = _hints(request, faults)
    fields = [
        {"field": _field(fault), "message": message_of(fault) + hint} for fault, hint in zip(faults, hints, strict=True)
    ]
    return on_app_error(request, errors.PayloadInvalid(errors=fields))


def _field(fault: Mapping[str, Any]) -> str:
    """Return `maxDuration` for ("body", "maxDuration"), and `body` for the body as a whole."""
    source, *path = fault["loc"]
    if fault["type"] == "recursion_depth_exceeded":  # its path repeats the tags of JSON's types hundreds of times
        path = list(takewhile(lambda part: part not in ("list", "dict"), path))
    return ".".join(map(str, path)) or str(source)


def _hints(request: Request, faults: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what to add to each fault's message: the field that was probably meant, or how to send several values."""
    suggestions = 0
    for fault in faults:
        if fault["type"] == "extra_forbidden" and suggestions < MAX_SUGGESTIONS:
            suggestions += 1
            yield _suggestion(request, *fault["loc"])
        elif fault["type"] == "enum" and fault["loc"][0] == "query" and "," in str(fault["input"]):
            yield _repetition(str(fault["loc"][1]), fault["input"].split(","), fault["ctx"]["expected"])
        else:
            yield ""


def _suggestion(request: Request, source: str, *path: str | int) -> str:
    *parents, name = path
    fields = _fields(request, source, parents)
    by_words = {_words(field): field for field in fields}
    close = difflib.get_close_matches(_words(str(name)[:MAX_SUGGESTED_LENGTH]), by_words, n=1)
    return f'; did you mean "{by_words[close[0]]}"?' if close else ": leave it out"


def _words(name: str) -> str:
    """Return the name without what differs between spellings: participant_name, participantName."""
    return name.replace("_", "").replace("-", "").lower()


def _fields(request: Request, source: str, parents: Sequence[str | int]) -> list[str]:
    """Return the names that a call allows in its query, in its body, or in an object inside of its body."""
    dependant = request.scope["route"].dependant
    if source == "query":
        models = [parameter.field_info.annotation for parameter in dependant.query_params]
    else:
        models = [getattr(each.call, "shape", None) for each in dependant.dependencies]  # of a JsonBody
    model: Any = next((each for each in models if isinstance(each, type) and issubclass(each, BaseModel)), None)
    for parent in parents:
        if isinstance(parent, str) and model:
            annotation = next(field.annotation for field in model.model_fields.values() if field.alias == parent)
            model = next(iter(get_args(annotation)), annotation)  # the model itself, or that of a list's entries
    return [str(field.alias) for field in model.model_fields.values()] if model else []


def _repetition(name: str, sent: Sequence[str], expected: str) -> str:
    """Return how to send several values, by two that are allowed: of those that were sent, if possible."""
    allowed = re.findall("'([^']+)'", expected)
    first, second = list(dict.fromkeys([value for value in sent if value in allowed] + allowed))[:2]
    return f"; repeat the parameter for several values: ?{name}={first}&{name}={second}"


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - the type that it is registered for
    code, detail = {
        404: ("not_found", "There is nothing at this path. /docs lists the calls."),
        405: ("method_not_allowed", "Use one of the methods named in the Allow header."),
    }.get(error.status_code, ("request_invalid", "Send the request as /docs describes."))
    title = str(error.detail)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(code=code, status=error.status_code, title=title, detail=detail, headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods of all routes of a path; Starlette names those of the first route only."""
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )

"""Errors as RFC 9457 problem documents, and how a call says which it gives."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.core.errors import (
    AppError,
    BodyTooLarge,
    DeliveryNotFound,
    InternalError,
    InterviewNotFound,
    PayloadInvalid,
    RequestTooSlow,
    WebhookEndpointNotFound,
)
from app.core.logging import request_id
from app.core.timestamps import rfc3339

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
NOT_FOUND: dict[str, type[AppError]] = {"endpoint_id": WebhookEndpointNotFound, "delivery_id": DeliveryNotFound}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(examples=["maxDuration"])
    message: str = Field(examples=["Input should be greater than or equal to 60"])


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `detail` tells what to do; `requestId` finds the request in the logs."""

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


def error_responses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for the errors that a call can give, with an example each."""
    found: dict[int | str, dict[str, Any]] = {}
    add_error_responses(found, *errors, InternalError)  # the last is meant by no call, and possible in any
    return found


def add_error_responses(found: dict[int | str, dict[str, Any]], *errors: type[AppError]) -> None:
    """Add errors to what `error_responses` returned; those that are there already stay once."""
    late = (RequestTooSlow,) if BodyTooLarge in errors else ()  # whatever has a body may get it too slowly
    for error in (*errors, *late):
        entry = found.setdefault(error.status, {"model": Problem, "description": "", "content": {MEDIA_TYPE: {}}})
        examples = entry["content"][MEDIA_TYPE].setdefault("examples", {})
        examples[error.code] = {"summary": error.title, "value": _example(error)}
        entry["description"] = "; ".join(example["summary"] for example in examples.values())


def _example(error: type[AppError]) -> dict[str, object]:
    return {
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "requestId": "0b7c7c2f5d1e4c7b",
        **error.example,
    }


def install(app: FastAPI) -> None:
    """Turn every error of the app into a problem document."""
    app.add_exception_handler(AppError, on_app_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, lambda *_: internal_error())  # it goes on to app.api.middleware, which logs it


def on_app_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101 - what it was registered for
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


def internal_error() -> Response:
    """Return what is told of an unexpected error."""
    return problem_of(InternalError())


def on_invalid_request(request: Request, error: Exception) -> Response:
    """Name each field, and never echo its value: it may be a phone number."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it was registered for
    faults = error.errors()
    for fault in faults:
        if fault["loc"][0] == "path":  # an id that is none belongs to nothing
            return on_app_error(request, NOT_FOUND.get(str(fault["loc"][1]), InterviewNotFound)())
    fields = [
        {"field": _field(fault["loc"]), "message": fault["msg"].removeprefix("Value error, ")} for fault in faults
    ]
    return on_app_error(request, PayloadInvalid(errors=fields))


def _field(location: tuple[int | str, ...]) -> str:
    """Return `maxDuration` for ("body", "maxDuration"), and `body` for the body as a whole."""
    return ".".join(map(str, location[1:])) or str(location[0])


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it was registered for
    code, detail = {
        404: ("not_found", "There is nothing at this address. See /docs for the calls that there are."),
        405: ("method_not_allowed", "Use one of the methods named in the Allow header."),
    }.get(error.status_code, ("request_invalid", "Send the request as /docs describes it."))
    title = str(error.detail)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(code=code, status=error.status_code, title=title, detail=detail, headers=headers)


def _allowed(request: Request) -> str:
    """Return the methods of an address; Starlette names those of its first route alone."""
    routes = request.app.routes
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ", ".join(found)

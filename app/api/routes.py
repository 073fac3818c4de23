"""The route classes: every route documents its errors and its body, the hottest ones run without FastAPI."""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.dependencies import BodyReader, CallerWith, documented_interview, get_session
from app.api.problems import (
    NOT_FOUND,
    error_response,
    error_responses,
    examples_of,
    on_app_error,
    on_invalid_request,
)
from app.core import errors
from app.core.errors import AppError


class ApiRoute(APIRoute):
    """A route that documents its body, and the errors that follow from its path and its dependencies.

    `responses` has to name only the errors that are specific to the call.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        dependants = list(_flatten(self.dependant))
        self.responses = _merge(error_responses(*_derived_errors(self.path, dependants)), self.responses)
        for dependant in dependants:
            if isinstance(dependant.call, BodyReader):
                self.openapi_extra = {"requestBody": dependant.call.documentation()}


def _flatten(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _flatten(inner)


def _derived_errors(path: str, dependants: Sequence[Dependant]) -> Iterator[type[AppError]]:
    calls = [dependant.call for dependant in dependants]
    if any(isinstance(call, CallerWith) for call in calls):
        yield from (errors.Unauthorized, errors.MissingScope, errors.DatabaseUnavailable)
    if get_session in calls:
        yield errors.DatabaseUnavailable
    not_found = errors.InterviewNotFoundByCandidate if documented_interview in calls else errors.InterviewNotFound
    for name in re.findall(r"{(\w+)", path):
        yield NOT_FOUND.get(name, not_found)
    if any("cursor" in _query_names(dependant) for dependant in dependants):
        yield from (errors.CursorInvalid, errors.PayloadInvalid)
    if any(isinstance(call, BodyReader) for call in calls):
        yield from (errors.PayloadInvalid, errors.BodyTooLarge)


def _query_names(dependant: Dependant) -> set[str]:
    """Return the names of the query's parameters, also of those that are fields of a model."""
    fields = [param.field_info.annotation for param in dependant.query_params]
    models = [name for annotation in fields for name in getattr(annotation, "model_fields", ())]
    return {*models, *(param.name for param in dependant.query_params)}


def _merge(derived: dict[int | str, dict[str, Any]], own: dict[int | str, dict[str, Any]]) -> dict[int | str, Any]:
    """Return all responses; of a status that is in both, the derived examples come first."""
    merged = derived | own
    for status in derived.keys() & own.keys():
        merged[status] = error_response({**examples_of(derived[status]), **examples_of(own[status])})
    return merged


class FastRoute(ApiRoute):
    """A route that FastAPI documents and does not run: `endpoint` takes the request and returns the response.

    Its `dependencies` and `response_model` are for the OpenAPI document only.
    """

    endpoint: Callable[[Request], Awaitable[Response]]

    def fits(self, scope: Scope) -> bool:
        """Return whether the request is for this route; if so, put `path_params` into the scope."""
        match = self.path_regex.match(scope["path"])
        if match is None or scope["method"] not in (self.methods or ()):
            return False
        scope["path_params"] = match.groupdict()
        return True

    async def respond(self, request: Request) -> Response:
        """Return the response of the endpoint, or the problem document of its error."""
        try:
            return await self.endpoint(request)
        except AppError as error:
            return on_app_error(request, error)
        except RequestValidationError as error:
            request.scope["route"] = self  # whose fields the messages suggest
            return on_invalid_request(request, error)


class FastRoutes:
    """Middleware that runs the fast routes itself, and passes all other requests to the app."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[FastRoute]) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for route in self._routes:
                if route.fits(scope):
                    response = await route.respond(Request(scope, receive, send))
                    await response(scope, receive, send)
                    return
        await self.app(scope, receive, send)

"""The route classes: every route documents its errors and its body, the hottest ones run without FastAPI."""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.routing import Match
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
from app.api.rate_limits import UNLIMITED
from app.api.types import Shape
from app.core import errors
from app.core.errors import AppError


class PageRoute(APIRoute):
    """A route that answers HEAD like GET, without the body, which the server leaves out. FastAPI has no such routes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches({**scope, "method": "GET"} if self._answers_head(scope) else scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.app if self._answers_head(scope) else super().handle)(scope, receive, send)

    def _answers_head(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "HEAD" and "GET" in (self.methods or ())


class NoBody(Shape, extra="forbid"):
    """The body of a call that takes none: empty, or {}."""


class ApiRoute(PageRoute):
    """A route that refuses what it does not declare, and documents its body and the errors that follow from its path
    and its dependencies.

    `responses` has to name only the errors that are specific to the call.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        dependants = list(_flatten(self.dependant))
        self.parameters = frozenset(name for dependant in dependants for name in _query_names(dependant))
        readers = [dependant.call for dependant in dependants if isinstance(dependant.call, BodyReader)]
        for reader in readers:
            self.openapi_extra = {"requestBody": reader.documentation()}
        self.takes_anything = self.path in UNLIMITED  # LiveKit, load balancers and scrapers may add what they like
        if not self.takes_anything:
            # After the caller's check: without a valid API key a caller learns nothing else, and no body is read.
            dependants.append(self._depend_on(self.check_parameters))
            if self.methods != {"GET"} and not readers:
                dependants.append(self._depend_on(BodyReader(NoBody, required=False)))
        self.responses = _merge(error_responses(*_derived_errors(self, dependants)), self.responses)

    def _depend_on(self, call: Callable[..., Any]) -> Dependant:
        dependant = get_parameterless_sub_dependant(depends=Depends(call), path=self.path)
        self.dependant.dependencies.append(dependant)
        return dependant

    async def check_parameters(self, request: Request) -> None:
        """Refuse query parameters that the call does not have. Raises RequestValidationError."""
        if not request.scope["query_string"]:
            return
        unknown = [name for name in request.query_params if name not in self.parameters]
        if unknown:
            raise RequestValidationError([{"loc": ("query", name), "type": "extra_forbidden"} for name in unknown])


async def check_parameters(request: Request) -> None:
    """Refuse query parameters that the request's route does not have. Raises RequestValidationError."""
    route: ApiRoute = request.scope["route"]
    await route.check_parameters(request)


def _flatten(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _flatten(inner)


def _derived_errors(route: ApiRoute, dependants: Sequence[Dependant]) -> Iterator[type[AppError]]:
    calls = [dependant.call for dependant in dependants]
    if any(isinstance(call, CallerWith) for call in calls):
        yield from (errors.Unauthorized, errors.MissingScope, errors.DatabaseUnavailable)
    if get_session in calls:
        yield errors.DatabaseUnavailable
    not_found = errors.InterviewNotFoundByCandidate if documented_interview in calls else errors.InterviewNotFound
    for name in re.findall(r"{(\w+)", route.path):
        yield NOT_FOUND.get(name, not_found)
    if "cursor" in route.parameters:
        yield errors.CursorInvalid
    if not route.takes_anything:
        yield errors.PayloadInvalid
    if any(isinstance(call, BodyReader) for call in calls):
        yield errors.BodyTooLarge


def _query_names(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the query's parameters, also of those that are fields of a model."""
    for parameter in dependant.query_params:
        fields = getattr(parameter.field_info.annotation, "model_fields", None)
        yield from (str(field.alias) for field in fields.values()) if fields else [parameter.alias]


def _merge(derived: dict[int | str, dict[str, Any]], own: dict[int | str, dict[str, Any]]) -> dict[int | str, Any]:
    """Return all responses; of a status that is in both, the derived examples come first."""
    merged = derived | own
    for status in derived.keys() & own.keys():
        merged[status] = error_response({**examples_of(derived[status]), **examples_of(own[status])})
    return merged


class FastRoute(ApiRoute):
    """A route that FastAPI documents and does not run: `endpoint` takes the request and returns the response.

    It calls `check_parameters` itself, once it knows the caller.
    Its `dependencies` and `response_model` are for the OpenAPI document only.
    """

    endpoint: Callable[[Request], Awaitable[Response]]

    def fits(self, scope: Scope) -> bool:
        """Return whether the request is for this route; if so, put `path_params` and `route` into the scope.

        Error messages suggest the route's fields.
        """
        match = self.path_regex.match(scope["path"])
        if match is None or scope["method"] not in (self.methods or ()):
            return False
        scope["path_params"], scope["route"] = match.groupdict(), self
        return True

    async def respond(self, request: Request) -> Response:
        """Return the response of the endpoint, or the problem document of its error."""
        try:
            return await self.endpoint(request)
        except AppError as error:
            return on_app_error(request, error)
        except RequestValidationError as error:
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

"""Routes of the hottest calls: in the OpenAPI document like any other, and run without FastAPI, which takes longer.

The endpoint takes the request and returns the answer; what it reads is in the document by `dependencies` and
`openapi_extra`, what it answers by `response_model`. None of these is run.
"""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import on_app_error, on_invalid_request
from app.core.errors import AppError


class FastRoute(APIRoute):
    """A route of these: `endpoint` is called with the request, and what it returns is sent."""

    endpoint: Callable[[Request], Awaitable[Response]]

    def fits(self, scope: Scope) -> bool:
        """Tell whether it is this route's call; if so, `path_params` are in the scope then."""
        found = self.path_regex.match(scope["path"])
        if found is None or scope["method"] not in (self.methods or ()):
            return False
        scope["path_params"] = found.groupdict()
        return True

    async def answer(self, request: Request) -> Response:
        """Return the answer, or the problem that became of the call."""
        try:
            return await self.endpoint(request)
        except AppError as error:
            return on_app_error(request, error)
        except RequestValidationError as error:
            return on_invalid_request(request, error)


class FastRoutes:
    """Wraps an app: runs plain routes itself, and gives all other calls to the app."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[FastRoute]) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for route in self._routes:
                if route.fits(scope):
                    response = await route.answer(Request(scope, receive, send))
                    await response(scope, receive, send)
                    return
        await self.app(scope, receive, send)

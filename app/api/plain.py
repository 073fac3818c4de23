"""Routes of the hottest calls: in the OpenAPI document like any other, and run without FastAPI's dependency solving.

That takes longer than such a call itself. The endpoint takes the request and returns the answer; what it reads is in
the document by `dependencies` and `openapi_extra`, what it answers by `response_model`.
"""

from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class PlainRoute(APIRoute):
    """A route that calls its endpoint and sends what that returns. Nothing that it depends on is run."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = _plain(endpoint)


def _plain(endpoint: Callable[..., Any]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return app

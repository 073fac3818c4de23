"""Which pages may read the answers: Starlette's CORS, for calls that come from a page."""

from collections.abc import Sequence
from typing import Any

from fastapi import Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.headers import Header, header_of, with_missing


class Cors(CORSMiddleware):
    """Nothing is done where no page is: servers, agents and LiveKit send no Origin.

    `secure` are headers for the answers that it gives itself.
    """

    def __init__(self, app: ASGIApp, *, secure: Sequence[Header], **options: Any) -> None:
        super().__init__(app, **options)
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and header_of(scope, b"origin") is None:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return what a browser asks before the call: it never gets to the edge."""
        response = super().preflight_response(request_headers)
        response.raw_headers = with_missing(response.raw_headers, self._secure)
        return response

"""Request id, rate limit by address, security headers and access log, for every request.

Pure ASGI: a middleware built on BaseHTTPMiddleware halved the rate of join. One layer, as every wrapper around `send`
costs each request.
"""

import logging
import random
import re
import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.headers import Header, header_of, with_missing
from app.api.problems import problem_of
from app.api.rate_limits import count_address, rate_limit_headers
from app.api.request_ids import may_be_used
from app.core.errors import InternalError, RateLimited
from app.core.logging import request_id
from app.core.rate_limits import RateLimit

log = logging.getLogger(__name__)

# Defaults for browsers: no sniffing, no referrer, no scripts or frames, no caching. The pages under / and /docs set
# policies of their own.
SECURE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
ONE_YEAR = (b"strict-transport-security", b"max-age=31536000")  # browsers honor it over TLS only

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class RequestMiddleware:
    """Wraps an app. An X-Request-Id of the caller is used if it is a plain identifier; the response always has one.

    `secure` are default headers of responses. `by_address` limits the requests of an address. `words` are the literal
    segments of the routes' paths: of a path only they and ids are logged.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        secure: tuple[tuple[bytes, bytes], ...],
        by_address: RateLimit | None,
        words: frozenset[str],
    ) -> None:
        self.app = app
        self._secure = secure
        self._by_address = by_address
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current = _request_id(scope)
        token = request_id.set(current)
        start = time.perf_counter()
        status = 0
        is_whole = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (b"x-request-id", current.encode()), *rate_limit_headers(scope)]
                message["headers"] = with_missing(headers, self._secure)
            else:
                is_whole = not message.get("more_body")
            await send(message)

        try:
            await self._run(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.info("the client disconnected before its request was read")
        except Exception:
            log.exception("unexpected error")
            if not status:
                await problem_of(InternalError())(scope, receive, send_with_headers)
            elif not is_whole:  # the response has started: closing the connection is the only way to signal the error
                raise
        finally:
            duration = (time.perf_counter() - start) * 1000
            log.info("%s %s %d %.1f ms", scope["method"], self._loggable(scope["path"]), status, duration)
            request_id.reset(token)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await count_address(scope, self._by_address)
        except RateLimited as error:
            await problem_of(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _loggable(self, path: str) -> str:
        """Return the path with unknown segments masked: they may hold a key, a phone number, line breaks."""
        return "/".join([part if part in self._words or ID.fullmatch(part) else "..." for part in path.split("/")])


def _request_id(scope: Scope) -> str:
    header = header_of(scope, b"x-request-id")
    return header.decode() if header and may_be_used(header) else new_request_id()


def new_request_id() -> str:
    return f"{random.getrandbits(64):016x}"  # an identifier, not a secret


def words_of(router: APIRouter) -> frozenset[str]:
    """Return the literal segments of the router's paths."""
    paths = [getattr(route, "path", "") for route in router.routes]
    return frozenset(part for path in paths for part in path.split("/") if "{" not in part)


class Cors(CORSMiddleware):
    """CORS that skips requests without Origin, as of servers and LiveKit. `secure` are headers for preflights."""

    def __init__(self, app: ASGIApp, *, secure: Sequence[Header], **options: Any) -> None:
        super().__init__(app, **options)
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and header_of(scope, b"origin") is None:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the preflight response, which RequestMiddleware does not see."""
        response = super().preflight_response(request_headers)
        response.raw_headers = with_missing(response.raw_headers, self._secure)
        return response

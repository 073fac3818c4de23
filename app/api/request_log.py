"""Gives each request an id, a line in the log and, should it fail unexpectedly, an answer that names the id.

Pure ASGI: a middleware built on BaseHTTPMiddleware halved the rate of join.
"""

import logging
import re
import time
import uuid

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.errors import InternalError
from app.logs import request_id

log = logging.getLogger(__name__)

GIVEN_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class RequestLog:
    """Wraps an app. X-Request-Id is taken from the caller where it is plain, and always given back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current = _request_id(scope)
        token = request_id.set(current)
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", current.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            log.info("the caller went away before its request was read")
        except Exception:
            log.exception("unexpected error")
            if status:  # the answer has begun already: only a broken connection can tell the caller
                raise
            await _sorry()(scope, receive, send_with_id)
        finally:
            took = (time.perf_counter() - began) * 1000
            log.info("%s %s %d %.1f ms", scope["method"], _printable(scope["path"]), status, took)
            request_id.reset(token)


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex[:16]


def _printable(path: str) -> str:
    """A path may hold line breaks once it is decoded; nobody writes lines into our log."""
    return path if path.isprintable() else repr(path)


def _sorry() -> ASGIApp:
    error = InternalError
    return problem(code=error.code, status=error.status, title=error.title, detail=error.detail)

"""Gives each request an id, a line in the log and, should it fail unexpectedly, an answer that names the id.

Pure ASGI: a middleware built on BaseHTTPMiddleware halved the rate of join.
"""

import logging
import random
import re
import time

from fastapi import APIRouter
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.headers import header_of
from app.api.problems import sorry
from app.logs import request_id

log = logging.getLogger(__name__)

ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
GIVEN_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class RequestLog:
    """Wraps an app. X-Request-Id is taken from the caller where it is plain, and always given back.

    `words` are those of which the addresses of calls are made: of a path only they and ids are logged.
    """

    def __init__(self, app: ASGIApp, *, words: frozenset[str]) -> None:
        self.app = app
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current = _request_id(scope)
        token = request_id.set(current)
        began = time.perf_counter()
        status = 0
        is_whole = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", current.encode())]
            else:
                is_whole = not message.get("more_body")
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            log.info("the caller went away before its request was read")
        except Exception:
            log.exception("unexpected error")
            if not status:
                await sorry()(scope, receive, send_with_id)
            elif not is_whole:  # the answer has begun already: only a broken connection can tell the caller
                raise
        finally:
            took = (time.perf_counter() - began) * 1000
            log.info("%s %s %d %.1f ms", scope["method"], self._shown(scope["path"]), status, took)
            request_id.reset(token)

    def _shown(self, path: str) -> str:
        """Return what may be logged of a path: a caller may write there a key, a phone number, line breaks."""
        return "/".join(part if part in self._words or ID.fullmatch(part) else "..." for part in path.split("/"))


def _request_id(scope: Scope) -> str:
    given = header_of(scope, b"x-request-id")
    return given.decode() if given and GIVEN_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    return f"{random.getrandbits(64):016x}"  # tells calls apart, and is no secret


def words_of(router: APIRouter) -> frozenset[str]:
    """Return the parts of the addresses of its calls, ids left out."""
    paths = [getattr(route, "path", "") for route in router.routes]
    return frozenset(part for path in paths for part in path.split("/") if "{" not in part)

"""A local start answers only to names of this machine, because its keys are public.

A web page can let its own name point to 127.0.0.1 (DNS rebinding). For the browser the service is then a part of that
page, which may read every answer. The name in the request still gives it away.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.headers import header_of
from app.api.problems import problem_of
from app.core.errors import HostNotAllowed
from app.core.hosts import is_loopback, split_url
from app.core.settings import Settings

HOST = re.compile(r"\[(?P<address>[0-9a-f:.]+)\](?::\d*)?|(?P<name>[^:\[\]]+)(?::\d*)?")
SIGNED = ("POST", "/webhooks/livekit")  # a LiveKit in a container calls host.docker.internal


class LocalHosts:
    """Wraps an app. Requests under other names than loopback ones and the hosts of ALLOWED_ORIGINS are refused.

    A request without Host is let through: no browser sends one.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._allowed = {split_url(origin).hostname for origin in settings.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = header_of(scope, b"host") if scope["type"] == "http" else None
        if host is None or self._is_allowed(host) or (scope["method"], scope["path"]) == SIGNED:
            await self.app(scope, receive, send)
        else:
            await problem_of(HostNotAllowed())(scope, receive, send)

    def _is_allowed(self, host: bytes) -> bool:
        found = HOST.fullmatch(host.decode("latin-1").lower())
        name = (found["address"] or found["name"].removesuffix(".")) if found else ""
        return is_loopback(name) or name.endswith(".localhost") or name in self._allowed

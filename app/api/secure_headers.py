"""What every answer tells browsers: take it as what it says it is, keep no copy, run nothing, frame it nowhere.

Pure ASGI. What an answer says itself stands: the pages under / and /docs have policies of their own.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.headers import with_missing

SECURE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
ONE_YEAR = (b"strict-transport-security", b"max-age=31536000")  # browsers heed it over TLS only


class SecureHeaders:
    """Wraps an app. `https_only`: browsers are to come by TLS alone from now on."""

    def __init__(self, app: ASGIApp, *, https_only: bool) -> None:
        self.app = app
        self.headers = (*SECURE, ONE_YEAR) if https_only else SECURE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_missing(message["headers"], self.headers)
            await send(message)

        await self.app(scope, receive, send_secured if scope["type"] == "http" else send)

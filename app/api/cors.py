"""Which pages may read the answers: Starlette's CORS, for calls that come from a page."""

from fastapi.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from app.api.headers import header_of


class Cors(CORSMiddleware):
    """Nothing is done where no page is: servers, agents and LiveKit send no Origin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and header_of(scope, b"origin") is None:
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

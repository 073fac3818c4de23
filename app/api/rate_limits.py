"""The edge of the rate limits: by address around the app, by API key once the caller is known; and what is told.

The fields are those of draft-ietf-httpapi-ratelimit-headers (10): a policy's name, its quota `q` in a window of `w`
seconds; what remains, `r`, and the seconds until the next window, `t`.
"""

import uuid
from collections.abc import Sequence

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem_of
from app.errors import RateLimited
from app.interviews.admission import network_of
from app.rate_limits import RateLimit, Standing

# LiveKit does not repeat what was answered with a 429 for long, so events would be lost; operators' machinery is few.
UNLIMITED = frozenset({"/webhooks/livekit", "/health/live", "/health/ready", "/metrics"})
HEADERS = ("RateLimit", "RateLimit-Policy")


class RateLimiting:
    """Wraps an app: counts what comes from an address, and tells in every answer what was counted.

    Pure ASGI, within the request's log and CORS: a page may read a refusal too.
    """

    def __init__(self, app: ASGIApp, *, by_address: RateLimit | None) -> None:
        self.app = app
        self.by_address = by_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNLIMITED:
            await self.app(scope, receive, send)
            return
        standings: list[Standing] = []
        scope["rate_limits"] = standings

        async def send_with_standings(message: Message) -> None:
            if standings and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_told(standings)]
            await send(message)

        try:
            await _count(scope, self.by_address, network_of(address_of(scope)))
        except RateLimited as error:
            await problem_of(error)(scope, receive, send_with_standings)
            return
        await self.app(scope, receive, send_with_standings)


def address_of(scope: Scope) -> str:
    """Return the IP address of whoever calls; behind TRUSTED_PROXIES the one that they say."""
    client = scope.get("client")
    return client[0] if client else ""


async def count_key(request: Request, key_id: uuid.UUID) -> None:
    """Count a call with the key. Raises RateLimited."""
    await _count(request.scope, request.app.state.rate_limits.key, key_id.hex)


async def _count(scope: Scope, limit: RateLimit | None, who: str) -> None:
    standing = await limit.count(who) if limit else None
    if standing:
        scope["rate_limits"].append(standing)
        if standing.is_over:
            raise RateLimited(retry_after=standing.reset)


def _told(standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    now = ", ".join([f'"{each.limit.name}";r={each.remaining};t={each.reset}' for each in standings])
    policies = ", ".join([each.limit.policy for each in standings])
    return [(b"ratelimit", now.encode()), (b"ratelimit-policy", policies.encode())]

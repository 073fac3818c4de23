"""Rate limits by address, before the app, and by API key, once the caller is known; and their response headers.

The headers follow draft-ietf-httpapi-ratelimit-headers-10: quota `q` per window of `w` seconds, `r` requests left,
`t` seconds until the next window.
"""

import uuid

from fastapi import Request
from starlette.types import Scope

from app.api.services import services_of
from app.core.errors import RateLimited
from app.core.rate_limits import RateLimit, Standing
from app.interviews.join_policy import network_of

# LiveKit retries a 429 only for a short time, so events would be lost; monitoring makes few requests.
UNLIMITED = frozenset({"/webhooks/livekit", "/health/live", "/health/ready", "/metrics"})
HEADERS = ("RateLimit", "RateLimit-Policy")


def address_of(scope: Scope) -> str:
    """Return the client's IP address; behind TRUSTED_PROXIES the one that they forward."""
    client = scope.get("client")
    return client[0] if client else ""


async def count_address(scope: Scope, limit: RateLimit | None) -> None:
    """Count a request of the client's address. Raises RateLimited."""
    if scope["path"] not in UNLIMITED:
        await _count(scope, limit, network_of(address_of(scope)))


async def count_key(request: Request, key_id: uuid.UUID) -> None:
    """Count a request with the API key. Raises RateLimited."""
    await _count(request.scope, services_of(request).rate_limits.key, key_id.hex)


async def _count(scope: Scope, limit: RateLimit | None, key: str) -> None:
    standing = await limit.count(key) if limit else None
    if standing:
        scope.setdefault("rate_limits", []).append(standing)
        if standing.is_over:
            raise RateLimited(retry_after=standing.reset)


def rate_limit_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the response headers for the limits that the request counted towards."""
    standings: list[Standing] = scope.get("rate_limits", [])
    if not standings:
        return []
    now = ", ".join([f'"{each.limit.name}";r={each.remaining};t={each.reset}' for each in standings])
    policies = ", ".join([each.limit.policy for each in standings])
    return [(b"ratelimit", now.encode()), (b"ratelimit-policy", policies.encode())]

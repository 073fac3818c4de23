"""The rate limits of calls: by address before the app, by API key once the caller is known; and what is told.

The fields are those of draft-ietf-httpapi-ratelimit-headers (10): a policy's name, its quota `q` in a window of `w`
seconds; what remains, `r`, and the seconds until the next window, `t`.
"""

import uuid

from fastapi import Request
from starlette.types import Scope

from app.api.services import services_of
from app.core.errors import RateLimited
from app.core.rate_limits import RateLimit, Standing
from app.interviews.join_policy import network_of

# LiveKit does not repeat what was answered with a 429 for long, so events would be lost; operators' machinery is few.
UNLIMITED = frozenset({"/webhooks/livekit", "/health/live", "/health/ready", "/metrics"})
HEADERS = ("RateLimit", "RateLimit-Policy")


def address_of(scope: Scope) -> str:
    """Return the IP address of whoever calls; behind TRUSTED_PROXIES the one that they say."""
    client = scope.get("client")
    return client[0] if client else ""


async def count_address(scope: Scope, limit: RateLimit | None) -> None:
    """Count a call from its address. Raises RateLimited."""
    if scope["path"] not in UNLIMITED:
        await _count(scope, limit, network_of(address_of(scope)))


async def count_key(request: Request, key_id: uuid.UUID) -> None:
    """Count a call with the key. Raises RateLimited."""
    await _count(request.scope, services_of(request).rate_limits.key, key_id.hex)


async def _count(scope: Scope, limit: RateLimit | None, who: str) -> None:
    standing = await limit.count(who) if limit else None
    if standing:
        scope.setdefault("rate_limits", []).append(standing)
        if standing.is_over:
            raise RateLimited(retry_after=standing.reset)


def told(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell of what was counted, if anything was."""
    standings: list[Standing] = scope.get("rate_limits", [])
    if not standings:
        return []
    now = ", ".join([f'"{each.limit.name}";r={each.remaining};t={each.reset}' for each in standings])
    policies = ", ".join([each.limit.policy for each in standings])
    return [(b"ratelimit", now.encode()), (b"ratelimit-policy", policies.encode())]

"""Rate limits per address and per API key. They protect other callers' share; they are no access control.

Windows are fixed: around the border of two, twice as many calls may pass. Each client's windows start at a different
instant, so that limited clients do not all return at once.
"""

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.errors import StorageError

from app.core import metrics
from app.core.limit_notation import is_shared, parse_limit

log = logging.getLogger(__name__)

ANSWER_WITHIN = 0.25  # seconds, of a shared storage
PAUSE = 5.0  # seconds without counting after the storage failed
LOG_INTERVAL = 60.0  # seconds
FAILURES = (StorageError, TimeoutError, OSError)  # of a storage that does not answer


class OwnCounters:
    """Counters in memory, for one limit. Two generations, each as long as the window, so expiry scans nothing.

    The memory storage of the `limits` package scans all keys every 10 ms: 0.6 ms of CPU a call with 50,000 addresses.
    """

    def __init__(self) -> None:
        self._current: dict[str, int] = {}
        self._previous: dict[str, int] = {}
        self._rotates_at = 0.0

    async def incr(self, key: str, expiry: int) -> int:
        """Count the key, which expires after `expiry` seconds at the earliest. Return its count."""
        now = time.monotonic()
        if now >= self._rotates_at:
            self._previous, self._current = self._current, {}
            self._rotates_at = now + expiry
        self._current[key] = count = (self._current.get(key) or self._previous.get(key, 0)) + 1
        return count


class SharedCounters:
    """Counters that replicas share, in Redis or Valkey. While it does not answer, calls pass uncounted."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import ConnectionPool  # an optional dependency, slow to import
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        url = re.sub("^valkey", "redis", url)
        # one retry, on a new connection, without the backoff of the client's default
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 1))
        client: dict[str, Any] = {"implementation": "redispy", "connection_pool": self._pool}
        self._storage = RedisStorage(f"async+{url}", wrap_exceptions=True, key_prefix="interviews", **client)
        self._paused_until = self._logged_at = -LOG_INTERVAL

    async def incr(self, key: str, expiry: int) -> int | None:
        """Count the key, which expires after `expiry` seconds. Return its count, None while the storage is paused."""
        if time.monotonic() >= self._paused_until:
            try:
                return await self.count(key, expiry, within=ANSWER_WITHIN)
            except FAILURES as error:
                now = time.monotonic()
                self._paused_until = now + PAUSE
                if now >= self._logged_at + LOG_INTERVAL:
                    self._logged_at = now
                    cause = error.__cause__ if isinstance(error, StorageError) else error
                    log.warning("the rate limits' storage does not answer, calls pass uncounted: %r", cause)
        metrics.RATE_LIMITS_UNCHECKED.inc()
        return None

    async def count(self, key: str, expiry: int, *, within: float) -> int:
        """Count the key. Raises one of FAILURES if the storage does not answer in `within` seconds."""
        async with asyncio.timeout(within):
            return await self._storage.incr(key, expiry)

    async def close(self) -> None:
        await self._pool.aclose()


class RateLimit:
    """One limit. Its name and policy appear in the response headers."""

    def __init__(self, name: str, item: RateLimitItem, counters: OwnCounters | SharedCounters) -> None:
        self.name = name
        self.calls = item.amount
        self.policy = f'"{name}";q={item.amount};w={item.get_expiry()}'
        self.window = item.get_expiry()  # seconds
        self._counters = counters

    async def count(self, client: str) -> "Standing | None":
        """Count a call of the client, and return its standing, None if it is unknown."""
        number, elapsed = divmod(int(time.time()) + crc32(client.encode()) % self.window, self.window)
        count = await self._counters.incr(f"{self.name}/{client}/{number}", self.window)
        if count is None:
            return None
        return Standing(self, max(self.calls - count, 0), self.window - elapsed, count > self.calls)


class Standing(NamedTuple):
    """A client's standing with a limit: the calls that remain, and the seconds until the next window."""

    limit: RateLimit
    remaining: int
    reset: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of one process. None: unlimited."""

    address: RateLimit | None
    key: RateLimit | None
    shared: SharedCounters | None

    async def close(self) -> None:
        if self.shared:
            await self.shared.close()


def rate_limits_of(*, per_address: str, per_key: str, storage_url: str) -> RateLimits:
    """Return the limits from their notations, counted in the storage."""
    shared = SharedCounters(storage_url) if is_shared(storage_url) else None

    def limit(name: str, notation: str) -> RateLimit | None:
        item = parse_limit(notation)
        return RateLimit(name, item, shared or OwnCounters()) if item else None

    return RateLimits(limit("address", per_address), limit("key", per_key), shared)

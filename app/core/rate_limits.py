"""Rate limits: so many calls in a window, for each that is counted. A courtesy to others, not what keeps anybody out.

Windows are fixed: at the border of two, twice as many may come at once. They begin at another instant for each that
is counted, so that those who were told to wait do not all come back together.
"""

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from zlib import crc32

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.errors import StorageError

from app.core import metrics
from app.core.limit_notation import is_shared, parse_limit

log = logging.getLogger(__name__)

ANSWER_WITHIN = 0.25  # seconds, of a storage that others share
PAUSE = 5.0  # seconds that it is not asked after it did not answer
SAY_AGAIN = 60.0  # seconds between two lines in the log
FAILURES = (StorageError, TimeoutError, OSError)
"""What is raised where such a storage does not answer."""


class Counters(Protocol):
    async def incr(self, key: str, expiry: int) -> int | None:
        """Count the key, which may be forgotten after `expiry` seconds; return how often it was, None if unknown."""

    async def close(self) -> None: ...


class OwnCounters:
    """This process' own, for one limit: two generations, each as long as the limit's window, so nothing is swept.

    Not limits' own storages in memory: those look through all their keys every 10 ms, which took 0.6 ms of CPU a call
    with 50,000 addresses.
    """

    def __init__(self) -> None:
        self._current: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._turns_at = 0.0

    async def incr(self, key: str, expiry: int) -> int:
        now = time.monotonic()
        if now >= self._turns_at:
            self._before, self._current = self._current, {}
            self._turns_at = now + expiry
        self._current[key] = count = (self._current.get(key) or self._before.get(key, 0)) + 1
        return count

    async def close(self) -> None:
        """Nothing is open."""


class SharedCounters:
    """Those that replicas share, in Redis or Valkey. While it does not answer nothing is counted, and calls go on."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import ConnectionPool  # an extra of ours, and slow to import
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        url = re.sub("^valkey", "redis", url)
        # once more, on a new connection, and without the pauses of the client's own retries
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 1))
        client: dict[str, Any] = {"implementation": "redispy", "connection_pool": self._pool}
        self._storage = RedisStorage(f"async+{url}", wrap_exceptions=True, key_prefix="interviews", **client)
        self._paused_until = self._said_at = -SAY_AGAIN

    async def incr(self, key: str, expiry: int) -> int | None:
        if time.monotonic() >= self._paused_until:
            try:
                return await self.count(key, expiry, within=ANSWER_WITHIN)
            except FAILURES as error:
                self._pause(error)
        metrics.RATE_LIMITS_UNCHECKED.inc()
        return None

    async def count(self, key: str, expiry: int, *, within: float) -> int:
        """Count the key. Raises one of FAILURES if the storage has not done it within so many seconds."""
        async with asyncio.timeout(within):
            return await self._storage.incr(key, expiry)

    def _pause(self, error: Exception) -> None:
        now = time.monotonic()
        self._paused_until = now + PAUSE
        if now >= self._said_at + SAY_AGAIN:
            self._said_at = now
            cause = error.__cause__ if isinstance(error, StorageError) else error
            log.warning("the storage of the rate limits does not answer, calls go on uncounted: %r", cause)

    async def close(self) -> None:
        await self._pool.aclose()


class RateLimit:
    """One limit, under the name by which callers are told of it."""

    def __init__(self, name: str, item: RateLimitItem, counters: Counters) -> None:
        self.name = name
        self.calls = item.amount
        self.policy = f'"{name}";q={item.amount};w={item.get_expiry()}'
        self.window = item.get_expiry()
        """Seconds."""
        self._counters = counters

    async def count(self, who: str) -> "Standing | None":
        """Count a call of theirs, and return where they stand now; None if that can't be known."""
        number, into = divmod(int(time.time()) + crc32(who.encode()) % self.window, self.window)
        count = await self._counters.incr(f"{self.name}/{who}/{number}", self.window)
        if count is None:
            return None
        return Standing(self, max(self.calls - count, 0), self.window - into, count > self.calls)


class Standing(NamedTuple):
    """Where somebody stands with a limit: calls that may still come, seconds until the next window."""

    limit: RateLimit
    remaining: int
    reset: int
    is_over: bool


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of one process; None where there is none."""

    address: RateLimit | None
    key: RateLimit | None
    shared: SharedCounters | None

    async def close(self) -> None:
        if self.shared:
            await self.shared.close()


def rate_limits_of(*, per_address: str, per_key: str, storage_url: str) -> RateLimits:
    """Return the limits by their notations, counted in the storage."""
    shared = SharedCounters(storage_url) if is_shared(storage_url) else None

    def limit(name: str, notation: str) -> RateLimit | None:
        item = parse_limit(notation)
        return RateLimit(name, item, shared or OwnCounters()) if item else None

    return RateLimits(limit("address", per_address), limit("key", per_key), shared)

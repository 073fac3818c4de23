"""The notation of rate limits and their storage in the settings. app.core.rate_limits counts, and is slow to import."""

import importlib.util
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from limits import RateLimitItem

SHARED = ("redis", "rediss", "valkey", "valkeys")  # one protocol, so one client


def parse_limit(notation: str) -> "RateLimitItem | None":
    """Return the limit of `600/minute` or `20 per 10 seconds`; None for `none`. Raises ValueError."""
    if notation.strip().lower() == "none":
        return None
    from limits import parse_many  # slow to import, and few set a limit of their own

    try:
        items = parse_many(notation)
    except ValueError:
        items = []
    if len(items) != 1 or items[0].amount < 1:
        raise ValueError("must be one limit, such as 600/minute or 20 per 10 seconds, or none")
    return items[0]


def is_shared(url: str) -> bool:
    """Return whether replicas share the storage of this URL. Raises ValueError if it can't be used."""
    try:
        scheme, _ = urlsplit(url).scheme, urlsplit(url).port
    except ValueError as error:  # its text may contain a piece of the password
        raise ValueError("must be a valid URL, such as redis://user:password@host:6379/0") from error
    if scheme == "memory":
        return False
    if scheme not in SHARED:
        raise ValueError(f"must be memory://, or a URL that begins with {', '.join(SHARED)}")
    if importlib.util.find_spec("redis") is None:
        raise ValueError("needs the extra 'redis' of this package, which has the client: install it")
    return True

"""How the settings write rate limits and where they are counted: read before anything counts (see app.core.metrics)."""

import importlib.util
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from limits import RateLimitItem

IN_MEMORY = "memory"
SHARED = ("redis", "rediss", "valkey", "valkeys")  # one protocol, so one client


def parse_limit(notation: str) -> "RateLimitItem | None":
    """Return what `600/minute` or `20 per 10 seconds` says; None for `none`. Raises ValueError."""
    if notation.strip().lower() == "none":
        return None
    from limits import parse_many  # slow to import, and few set a limit of their own

    try:
        items = parse_many(notation)
    except ValueError:
        items = []
    if len(items) != 1 or items[0].amount < 1:
        raise ValueError("write one limit, such as 600/minute or 20 per 10 seconds, or none")
    return items[0]


def is_shared(url: str) -> bool:
    """Tell whether it is a storage that replicas share. Raises ValueError for one that can't be used."""
    try:
        scheme, _ = urlsplit(url).scheme, urlsplit(url).port
    except ValueError as error:  # its text may hold a piece of the password
        raise ValueError("it is not a valid URL: redis://user:password@host:6379/0") from error
    if scheme == IN_MEMORY:
        return False
    if scheme not in SHARED:
        raise ValueError(f"write memory://, or a URL that begins with {', '.join(SHARED)}")
    if importlib.util.find_spec("redis") is None:
        raise ValueError("install the extra 'redis' of this package, it has the client")
    return True

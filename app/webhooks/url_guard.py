"""Protection against SSRF: webhooks never reach the network that this service runs in.

URLs are checked when an endpoint is created or changed, and addresses again at every connection.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from app.core.errors import WebhookTargetRefused

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Return the addresses of a host. Raises OSError."""

LOOKUP_TIMEOUT = 5.0  # seconds
LOOKUP_CONCURRENCY = 64  # threads of their own: a name server that hangs must not block the process's other lookups

GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# Networks that ipaddress, or that of an older Python, calls global: relays of 6to4 and Teredo lead anywhere.
_BLOCKED = ["100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]
VALID = "Give a valid URL, with a port from 1 to 65535 if it has one."
BLOCKED_NETWORKS = [ip_network(network) for network in _BLOCKED]


def refusal_reason(address: str) -> str | None:
    """Return why an IP address is refused, or None for a public one."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and (embedded := _embedded(ip)):
        reason = refusal_reason(str(embedded))
        return f"{address} stands for a refused address: {reason}" if reason else None
    is_blocked = ip.is_multicast or ip.is_reserved or any(ip in network for network in BLOCKED_NETWORKS)
    is_public = ip.is_global and not is_blocked
    if isinstance(ip, IPv6Address):
        is_public = is_public and ip in GLOBAL_UNICAST
    return None if is_public else f"{address} is not a public address"


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a mapped or translated address reaches."""
    if ip in NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped


async def public_addresses(host: str, port: int, *, allow_private: bool, resolve: Resolve) -> Sequence[str]:
    """Return the addresses of a host. Raises WebhookTargetRefused if any of them is refused, and OSError.

    Any, not all: a rebinding attack starts with a name that has a public and a private address.
    """
    addresses = await resolve(host, port)
    refused = [] if allow_private else [reason for address in addresses if (reason := refusal_reason(address))]
    if refused:
        raise WebhookTargetRefused(f"Give a host with public addresses only: {refused[0]}.")
    return addresses


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Resolve by the system's resolver. Raises OSError."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_lookup_pool(), look_up)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@cache
def _lookup_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUP_CONCURRENCY, thread_name_prefix="webhook-dns")


def require_https(target: SplitResult, *, allow_private: bool) -> None:
    if target.scheme != "https" and not allow_private:
        raise WebhookTargetRefused("Give an https URL, so that nobody can read the messages in transit.")


def _parse(url: str) -> tuple[SplitResult, int]:
    """Return the URL's parts, and the port that it leads to. Raises WebhookTargetRefused."""
    try:
        target = urlsplit(url)
        port = target.port
    except ValueError as error:
        raise WebhookTargetRefused(VALID) from error
    if port == 0:
        raise WebhookTargetRefused(VALID)
    return target, port or (443 if target.scheme == "https" else 80)


async def check_url(url: str, *, allow_private: bool, resolve: Resolve = resolve_host) -> None:
    """Raise WebhookTargetRefused for a URL to which nothing may be sent.

    A name that can't be resolved now is accepted: each delivery resolves it again.
    """
    target, port = _parse(url)
    require_https(target, allow_private=allow_private)
    if target.username is not None or target.password is not None:
        raise WebhookTargetRefused("Remove user and password from the URL: the signature authenticates the sender.")
    if not (allow_private or port == 443 or port >= 1024):
        raise WebhookTargetRefused("Use port 443, or a port from 1024 up.")
    with suppress(OSError, TimeoutError, UnicodeError):
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            await public_addresses(target.hostname or "", port, allow_private=allow_private, resolve=resolve)

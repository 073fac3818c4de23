"""Where webhooks may go: never into the network that this service runs in. Checked when an endpoint is made, and at
every connection, on the very address that is connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from app.core.errors import WebhookTargetRefused

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host. Raises OSError."""

LONGEST_LOOKUP = 5.0  # seconds
LOOKUPS_AT_ONCE = 64  # threads of their own: a name server that hangs must not hold up the process's other look-ups

GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# What ipaddress calls global, or called so in an older Python: relays of 6to4 and Teredo lead anywhere.
NEVER = tuple(
    ip_network(each)
    for each in (
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)


def refusal(address: str) -> str | None:
    """Return why nothing is sent to an IP address, None if it is a public one."""
    ip = ip_address(address)
    embedded = _embedded(ip) if isinstance(ip, IPv6Address) else None
    if embedded:
        why = refusal(str(embedded))
        return f"{address} stands for an address that is refused: {why}" if why else None
    is_public = ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in each for each in NEVER))
    if isinstance(ip, IPv6Address):
        is_public = is_public and ip in GLOBAL_UNICAST
    return None if is_public else f"{address} is not a public address"


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a mapped or translated one reaches."""
    if ip in NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped


async def public_addresses(host: str, port: int, *, allow_private: bool, resolve: Resolve) -> Sequence[str]:
    """Return the addresses of a host. Raises WebhookTargetRefused if any of them is refused, OSError without any.

    Any, not all: a name with a public and a private address is how a rebinding attack begins.
    """
    addresses = await resolve(host, port)
    refused = [] if allow_private else [why for each in addresses if (why := refusal(each))]
    if refused:
        raise WebhookTargetRefused(f"Give a host with public addresses only: {refused[0]}.")
    return addresses


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_lookups(), _look_up, host, port)
    return list(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    return [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@cache
def _lookups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="webhook-dns")


async def check_url(url: str, *, allow_private: bool, resolve: Resolve = resolve_host) -> None:
    """Raise WebhookTargetRefused for a URL to which nothing would be sent.

    A name that can't be resolved now is let be: each delivery asks again.
    """
    target = urlsplit(url)
    if target.scheme != "https" and not allow_private:
        raise WebhookTargetRefused("Give an https URL: what is sent must not be read on its way.")
    if target.username is not None or target.password is not None:
        raise WebhookTargetRefused("Leave user and password out of the URL: the signature says who sends.")
    port = target.port or (443 if target.scheme == "https" else 80)
    if not (allow_private or port == 443 or port >= 1024):
        raise WebhookTargetRefused("Use port 443, or one from 1024 on.")
    with suppress(OSError, TimeoutError, UnicodeError):
        async with asyncio.timeout(LONGEST_LOOKUP):
            await public_addresses(target.hostname or "", port, allow_private=allow_private, resolve=resolve)

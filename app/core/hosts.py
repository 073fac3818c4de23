"""Host names, addresses and origins, judged by their text alone."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

# Names that can't be in public DNS, so traffic to them does not cross the internet: containers, clusters, LANs.
PRIVATE_SUFFIXES = (".internal", ".local", ".localhost", ".svc")

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65_535


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Return whether a host is on this machine or a private network, by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(PRIVATE_SUFFIXES))


def is_exact_origin(origin: str) -> bool:
    """Return whether a browser could send exactly this as Origin: nothing else would ever match."""
    url = split_url(origin)
    host = url.hostname or ""
    if url.scheme not in DEFAULT_PORTS or not host or not host.isascii() or not set("*\\ ").isdisjoint(host):
        return False
    name = f"[{host}]" if ":" in host else host
    suffix = "" if url.port in (None, DEFAULT_PORTS[url.scheme]) else f":{url.port}"
    return origin == f"{url.scheme}://{name}{suffix}"


def split_url(url: str) -> SplitResult:
    """Return the URL's parts, all of them empty if it is not valid."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError too
    except ValueError:
        return urlsplit("")
    return parts

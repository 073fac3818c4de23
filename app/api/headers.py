"""Raw ASGI headers: pairs of bytes, names in lower case. Not parsed further, as every call searches them."""

from collections.abc import Iterable, Mapping
from typing import Any

Header = tuple[bytes, bytes]


def header_of(message: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return the first header of that name, in a request's scope or a response's first message."""
    headers: Iterable[Header] = message["headers"]
    for key, value in headers:
        if key == name:
            return value
    return None


def with_missing(headers: Iterable[Header], defaults: Iterable[Header]) -> list[Header]:
    """Return the headers, and the defaults that are not among them."""
    present = [*headers]
    names = {name for name, _ in present}
    return present + [header for header in defaults if header[0] not in names]

"""Headers as ASGI has them: pairs of bytes, names in lower case. Looked through as they are, for the hottest calls."""

from collections.abc import Iterable, Mapping
from typing import Any

Header = tuple[bytes, bytes]


def header_of(said: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return the first header of that name: of a request's scope, or of a message that begins an answer."""
    for key, value in said["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def with_missing(headers: Iterable[Header], more: Iterable[Header]) -> list[Header]:
    """Return the headers, and those of `more` that they do not say themselves."""
    said = [*headers]
    names = {name for name, _ in said}
    return said + [header for header in more if header[0] not in names]

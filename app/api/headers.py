"""Headers as ASGI has them: pairs of bytes, names in lower case. Looked through as they are, for the hottest calls."""

from collections.abc import Iterable

from starlette.types import Scope

Header = tuple[bytes, bytes]


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of that name which the caller sent."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def with_missing(headers: Iterable[Header], more: Iterable[Header]) -> list[Header]:
    """Return the headers, and those of `more` that they do not say themselves."""
    said = [*headers]
    names = {name for name, _ in said}
    return said + [header for header in more if header[0] not in names]

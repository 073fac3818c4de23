"""A defence and its proof."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defence:
    """`code` occurs in `file` exactly once. With `without` in its place, each of the `tests` fails."""

    name: str
    file: str
    code: str
    without: str
    tests: tuple[str, ...]
    forever: bool = False
    """Whether the tests hang without it, as the service would."""

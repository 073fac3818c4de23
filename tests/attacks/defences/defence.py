"""What a row of the table says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defence:
    """`code` stands in `file` exactly once; with `without` in its place each of the `tests` fails."""

    name: str
    file: str
    code: str
    without: str
    tests: tuple[str, ...]
    forever: bool = False
    """Whether without it the tests wait for ever, as the service would."""

"""interviews serve | worker | migrate | audit | doctor | keys | list | show | watch | simulate."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import heavy modules inside this block, without garbage collection: it takes an eighth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main() -> None:
    """Run the command that the arguments name."""
    with importing():
        from app.cli.commands import parser, run

        arguments = parser(sys.argv[1:]).parse_args()
    run(arguments)

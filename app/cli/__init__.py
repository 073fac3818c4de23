"""interviews serve | worker | migrate | audit | doctor | keys | list | show | watch | simulate."""

import sys

from app.cli.fast_imports import importing


def main() -> None:
    """Run the command that the arguments name."""
    with importing():
        from app.cli.commands import parser, run

        arguments = parser(sys.argv[1:]).parse_args()
    run(arguments)

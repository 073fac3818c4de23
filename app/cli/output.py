"""What the commands print: tables for people, JSON for scripts.

rich is imported where it is used: `serve` starts without it.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

import orjson

if TYPE_CHECKING:
    from rich.console import Console

WITHOUT_TERMINAL = 200  # columns, in a file or a pipe


def console() -> "Console":
    """Return the console on standard output, which takes nothing that is printed for markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WITHOUT_TERMINAL
    return Console(width=width, markup=False, emoji=False, highlight=False)


def plain(value: object) -> str:
    """Return the value as people read it. A name must not command the terminal: what can't be printed becomes �."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; the first column, which names the row, stays in one piece."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    console().print(table)


def print_line(line: str) -> None:
    """Print a line at once: somebody may read along."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        stop_quietly()


def print_json(value: object) -> None:
    """Print the value as one line of JSON."""
    print_line(orjson.dumps(value).decode())


def stop_quietly() -> NoReturn:
    """End because the reader has, as `head` does; Python would complain when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)

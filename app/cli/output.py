"""What the commands print: tables and progress for people, JSON for scripts.

rich is imported where it is used, because `serve` starts without it.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

import orjson

from app.core.timestamps import rfc3339

if TYPE_CHECKING:
    from rich.console import Console

WITHOUT_TERMINAL = 200  # columns, in a file or a pipe


def console() -> "Console":
    """Return a console on standard output that prints text as it is, without markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WITHOUT_TERMINAL
    return Console(width=width, markup=False, emoji=False, highlight=False)


def printable(value: object) -> str:
    """Return the value for people. Control characters become �, so that a name can't control the terminal."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, list):
        return " ".join(map(printable, value))
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(value))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[object]], *, title: str | None = None) -> None:
    """Print a table; the first column is never wrapped."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console().print(table)


def print_line(line: str) -> None:
    """Print a line and flush, for readers who follow the output."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        stop_quietly()


def print_json(value: object) -> None:
    """Print the value as one line of JSON."""
    print_line(orjson.dumps(value, default=rfc3339, option=orjson.OPT_PASSTHROUGH_DATETIME).decode())


def stop_quietly() -> NoReturn:
    """Exit because the reader is gone, as with `| head`, without Python's error when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how many more are done. The bar is on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed meanwhile appears above the bar.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)

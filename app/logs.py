"""Logging: one line an event, with the request that it belongs to. Tokens, keys, names, numbers and bodies never.

So an error of somebody else's is told by its class and place, not in its words: Postgres quotes the row that it
refused, a parser the text that it could not read.
"""

import copy
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")

OF_POSTGRES = ("sqlstate", "table_name", "column_name", "constraint_name")


class _Line(logging.Formatter):
    """Names the request, and spells each second once: that took a third of the time of a line."""

    _second = 0
    _spelt = ""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        args = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
        for each in args:
            if isinstance(each, BaseException):
                record = _without_words(record)
                break
        instant = self.formatTime(record)
        who = f"{instant}{self._process} {record.levelname} {record.name} [{request_id.get()}]"
        line = f"{who} {record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        return "\n".join([line, *_trace(error)]) if error else line

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._spelt = second, super().formatTime(record, "%Y-%m-%d %H:%M:%S")
        return f"{self._spelt},{int(record.msecs):03}"


def _without_words(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy, as other handlers get the record as it was."""
    line = copy.copy(record)
    if isinstance(line.args, Mapping):
        line.args = {name: _loggable(value) for name, value in line.args.items()}
    elif line.args:
        line.args = tuple(map(_loggable, line.args))
    return line


class _Words(str):
    """A text that is the same in a line by %s and by %r."""

    __slots__ = ()
    __repr__ = str.__str__


def _loggable(value: object) -> object:
    return _Words(described(value)) if isinstance(value, BaseException) else value


def _trace(error: BaseException) -> Iterator[str]:
    """Yield what Python's traceback would show, without what the errors say."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before:
        yield from _trace(before)
        yield "and from there:"
    yield from (line.rstrip() for line in traceback.format_tb(error.__traceback__))
    yield described(error)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _trace(each)


def described(error: BaseException) -> str:
    """Return what may be logged of an error: all that one of ours says, and what says nothing of anybody."""
    name = type(error).__qualname__
    if type(error).__module__.partition(".")[0] == "app":
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    told = getattr(error, "orig", None) or error  # SQLAlchemy's, around asyncpg's
    told = getattr(told, "__cause__", None) or told
    facts = [f"{each}={found}" for each in OF_POSTGRES if isinstance(found := getattr(told, each, None), str)]
    return f"{name} ({', '.join(facts)})" if facts else name


def configure_logging(*, names_process: bool = False) -> None:
    """Send all logs to standard error. uvicorn's own access log is off: ours names the request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(f" {os.getpid()}" if names_process else ""))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)

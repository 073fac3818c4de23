"""Logging: one line per event, with its request's id. Tokens, keys, names, phone numbers and bodies are never logged.

Errors of other libraries are therefore logged by class and place, without their messages: Postgres quotes the row that
it rejects, a parser the text that it can't read.
"""

import copy
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")

POSTGRES_FIELDS = ("sqlstate", "table_name", "column_name", "constraint_name")


class LineFormatter(logging.Formatter):
    """Formats a record as `time level logger [request id] message`. `process`, if given, follows the time."""

    _second = 0
    _second_as_text = ""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        args = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
        for arg in args:
            if isinstance(arg, BaseException):
                record = _with_safe_args(record)
                break
        prefix = f"{self.formatTime(record)}{self._process} {record.levelname} {record.name} [{request_id.get()}]"
        line = f"{prefix} {record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        return "\n".join([line, *_safe_traceback(error)]) if error else line

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Format each second once: strftime took a third of the time of a line."""
        second = int(record.created)
        if second != self._second:
            self._second, self._second_as_text = second, super().formatTime(record, "%Y-%m-%d %H:%M:%S")
        return f"{self._second_as_text},{int(record.msecs):03}"


def _with_safe_args(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy with errors replaced by their safe_repr. Other handlers get the original."""
    safe = copy.copy(record)
    if isinstance(safe.args, Mapping):
        safe.args = {name: _safe_arg(value) for name, value in safe.args.items()}
    else:
        safe.args = tuple(map(_safe_arg, safe.args or ()))
    return safe


class _Unquoted(str):
    """A string that %r formats as %s does."""

    __slots__ = ()
    __repr__ = str.__str__


def _safe_arg(value: object) -> object:
    return _Unquoted(safe_repr(value)) if isinstance(value, BaseException) else value


def _safe_traceback(error: BaseException) -> Iterator[str]:
    """Yield the lines of Python's traceback, each error by its safe_repr."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier:
        yield from _safe_traceback(earlier)
        yield "The above exception led to the following exception:"
    yield from (line.rstrip() for line in traceback.format_tb(error.__traceback__))
    yield safe_repr(error)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _safe_traceback(each)


def safe_repr(error: BaseException) -> str:
    """Return what may be logged of an error.

    The app's own errors keep their message, OSErrors that of the system. Of any other only the class is returned and,
    for one of Postgres, the names in POSTGRES_FIELDS.
    """
    name = type(error).__qualname__
    if type(error).__module__.partition(".")[0] == "app":
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps its driver's error, which wraps asyncpg's
    cause = getattr(cause, "__cause__", None) or cause
    fields = [f"{each}={value}" for each in POSTGRES_FIELDS if isinstance(value := getattr(cause, each, None), str)]
    return f"{name} ({', '.join(fields)})" if fields else name


def configure_logging(*, names_process: bool = False) -> None:
    """Log to standard error. uvicorn's own access log is off: app.api.middleware writes one with the request's id."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(f" {os.getpid()}" if names_process else ""))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # logging's manual, "Optimization": our lines name no place, thread or process; without these a join costs 12% less
    logging._srcfile = None  # noqa: SLF001 - the manual's own words
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("alembic").setLevel(logging.WARNING)

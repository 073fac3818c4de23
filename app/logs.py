"""Logging: one line an event, with the request that it belongs to. Tokens, keys, phone numbers and bodies never."""

import logging
import sys
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")


class _Line(logging.Formatter):
    """Names the request, and spells each second once: that took a third of the time of a line."""

    _second = 0
    _spelt = ""

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = request_id.get()
        return super().format(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._spelt = second, super().formatTime(record, "%Y-%m-%d %H:%M:%S")
        return f"{self._spelt},{record.msecs:03.0f}"


def configure_logging(*, names_process: bool = False) -> None:
    """Send all logs to standard error. uvicorn's own access log is off: ours names the request."""
    process = " %(process)d" if names_process else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(f"%(asctime)s{process} %(levelname)s %(name)s [%(request_id)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.logThreads = logging.logMultiprocessing = False  # no line says them
    logging.logProcesses = names_process
    logging.getLogger("alembic").setLevel(logging.WARNING)

"""Several serving processes on one socket: forked from a process that is ready to serve, and replaced when they die.

A fork takes milliseconds and shares the memory of all imports. uvicorn's own supervisor imports everything again for
each process, retries one that can't start twice a second, and leaves its processes running when it is killed.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

log = logging.getLogger(__name__)

POLL = 0.1  # seconds
STABLE_AFTER = 10.0  # seconds; a process that dies later is replaced at once
MIN_BACKOFF = 0.5  # seconds before a process that died sooner is replaced, doubled each time
MAX_BACKOFF = 30.0
STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class _Slot:
    """One of the processes that should run. Times are in seconds of time.monotonic()."""

    pid: int | None = None
    started_at: float = 0
    due_at: float = 0
    backoff: float = 0


def fork_workers(
    count: int, listening: socket.socket, *, stop_timeout: float, on_exit: Callable[[int], None]
) -> int | None:
    """Fork `count` processes and return in each; return None in the parent once all have ended (SIGTERM, SIGINT).

    A forked process gets a file descriptor that becomes readable when its parent dies. On a signal the parent stops
    them, and kills those that take more than `stop_timeout` seconds. `on_exit` gets the pid of each that ended before.
    """
    stops: list[int] = []
    before = {number: signal.signal(number, lambda number, _: stops.append(number)) for number in STOPS}
    parent, held = os.pipe()
    slots = [_Slot() for _ in range(count)]
    while not stops:
        for slot in slots:
            if slot.pid is None and slot.due_at <= time.monotonic() and _fork(slot, before):
                os.close(held)
                return parent
        time.sleep(POLL)
        for slot in slots:
            if slot.pid is not None and (why := _ended(slot.pid)):
                on_exit(slot.pid)
                _replace(slot, why)
    listening.close()  # new connections are refused instead of waiting
    _stop([slot.pid for slot in slots if slot.pid is not None], stop_timeout)
    return None


Handler = Callable[[int, FrameType | None], object] | int | None


def _fork(slot: _Slot, handlers: dict[signal.Signals, Handler]) -> bool:
    """Return whether this is the new process. A signal that arrives in between is delivered to it afterwards."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    slot.started_at = time.monotonic()
    slot.pid = os.fork() or None
    if slot.pid is None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return slot.pid is None


def _ended(pid: int) -> str:
    """Return how the process ended, or "" if it has not."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _replace(slot: _Slot, why: str) -> None:
    now = time.monotonic()
    is_stable = now - slot.started_at >= STABLE_AFTER
    slot.backoff = 0 if is_stable else min(max(2 * slot.backoff, MIN_BACKOFF), MAX_BACKOFF)
    log.error("serving process %d %s; it is replaced in %g s", slot.pid, why, slot.backoff)
    slot.pid = None
    slot.due_at = now + slot.backoff


def _stop(pids: Sequence[int], timeout: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    left = set(pids)
    while left:
        if time.monotonic() > deadline:
            for pid in left:
                log.error("serving process %d did not stop within %g s and is killed", pid, timeout)
                os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(POLL)
        left = {pid for pid in left if not _ended(pid)}

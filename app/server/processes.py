"""Several serving processes on one socket: forked from one that is ready to serve, and replaced when they die.

A fork shares the memory of all that was imported, and takes milliseconds. uvicorn's own supervisor starts each process
anew, starts one that can't start twice a second for ever, and when it is killed its processes go on without it.
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

TICK = 0.1  # seconds
STEADY = 10.0  # seconds after which a process that dies is replaced at once
SHORTEST_PAUSE = 0.5  # seconds before one that died sooner is replaced, doubled each time
LONGEST_PAUSE = 30.0
STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class _Place:
    """One of the processes that there should be. Instants are in seconds of time.monotonic()."""

    pid: int | None = None
    started_at: float = 0
    due_at: float = 0
    pause: float = 0


def fork_workers(count: int, listening: socket.socket, *, within: float, gone: Callable[[int], None]) -> int | None:
    """Return in each of `count` processes, and in this one once all are gone: None, after SIGTERM or SIGINT.

    What a process gets is a file that can be read, with nothing in it, as soon as its parent is dead. When this one is
    told to stop it tells the others, and kills those that take more than `within` seconds. `gone` is told of each that
    has ended before.
    """
    stops: list[int] = []
    before = {number: signal.signal(number, lambda number, _: stops.append(number)) for number in STOPS}
    parent, held = os.pipe()
    places = [_Place() for _ in range(count)]
    while not stops:
        for place in places:
            if place.pid is None and place.due_at <= time.monotonic() and _fork(place, before):
                os.close(held)
                return parent
        time.sleep(TICK)
        for place in places:
            if place.pid is not None and (why := _ended(place.pid)):
                gone(place.pid)
                _replace(place, why)
    listening.close()  # who comes now is refused, not kept waiting
    _stop([place.pid for place in places if place.pid is not None], within)
    return None


Handler = Callable[[int, FrameType | None], object] | int | None


def _fork(place: _Place, handlers: dict[signal.Signals, Handler]) -> bool:
    """Tell whether this is the new process. A stop that comes in between is kept for it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    place.started_at = time.monotonic()
    place.pid = os.fork() or None
    if place.pid is None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return place.pid is None


def _ended(pid: int) -> str:
    """Return how the process ended, or "" if it has not."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _replace(place: _Place, why: str) -> None:
    now = time.monotonic()
    is_steady = now - place.started_at >= STEADY
    place.pause = 0 if is_steady else min(max(2 * place.pause, SHORTEST_PAUSE), LONGEST_PAUSE)
    log.error("serving process %d %s; another takes its place in %g s", place.pid, why, place.pause)
    place.pid = None
    place.due_at = now + place.pause


def _stop(pids: Sequence[int], within: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + within
    left = set(pids)
    while left:
        if time.monotonic() > deadline:
            for pid in left:
                log.error("serving process %d did not stop within %g s and is killed", pid, within)
                os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(TICK)
        left = {pid for pid in left if not _ended(pid)}

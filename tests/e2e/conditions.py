"""Waiting for conditions that other processes fulfil."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
HOPELESS = 60  # seconds, a timeout for a failing test


@overload
async def eventually(probe: Callable[[], Awaitable[T | None]], *, within: float = HOPELESS) -> T: ...


@overload
async def eventually(probe: Callable[[], T | None], *, within: float = HOPELESS) -> T: ...


async def eventually(probe: Callable[[], Any], *, within: float = HOPELESS) -> Any:
    """Poll `probe()` and return its first true value. An AssertionError in it counts as false.

    Raises AssertionError with the last value after `within` seconds.
    """
    deadline = time.monotonic() + within
    last = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            value = probe()
            if inspect.isawaitable(value):
                value = await asyncio.wait_for(value, left)
            if value:
                return value
            last = repr(value)
        except AssertionError as error:
            last = str(error)
        except TimeoutError:
            break
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {within:g} s; the last value was {last}")

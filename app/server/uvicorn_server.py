"""The HTTP server: uvicorn's, which waits for open answers when it stops, and so would wait for streams."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

log = logging.getLogger(__name__)

NOT_STARTED = 3  # uvicorn's own exit code


class Server(uvicorn.Server):
    """Ends the streams before it waits for the requests under way."""

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams
        self.parent: int | None = None
        """A file that can be read as soon as the process that watches over this one is dead."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.parent is not None:
            asyncio.get_running_loop().add_reader(self.parent, self._stop_after_parent, self.parent)

    def _stop_after_parent(self, parent: int) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        log.error("the parent process is gone, and nobody would replace this one: it stops")
        os.kill(os.getpid(), signal.SIGTERM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)

    def run_until_stopped(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn.run does: Ctrl-C is an ordinary end, and a server that could not start exits."""
        with suppress(KeyboardInterrupt):
            self.run(sockets)
        if not self.started:
            sys.exit(NOT_STARTED)

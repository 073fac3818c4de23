"""The HTTP server: uvicorn's, which waits for open answers when it stops, and so would wait for streams."""

import socket
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

NOT_STARTED = 3  # uvicorn's own exit code


class Server(uvicorn.Server):
    """Ends the streams before it waits for the requests under way."""

    def __init__(self, config: uvicorn.Config, *, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)

    def run_until_stopped(self) -> None:
        """As uvicorn.run does: Ctrl-C is an ordinary end, and a server that could not start exits."""
        with suppress(KeyboardInterrupt):
            self.run()
        if not self.started:
            sys.exit(NOT_STARTED)

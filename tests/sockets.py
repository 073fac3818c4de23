"""The app behind the real server in this process, for tests of bytes on a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from app.server.protocol import BoundedProtocol
from tests.e2e.conditions import eventually


@dataclass(frozen=True)
class SocketClient:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send, and ignore a closed connection."""
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def trickle(self, byte: bytes = b"a") -> None:
        """Send a byte now and then until the server closes."""
        while not self.reader.at_eof() and not self.writer.is_closing():
            await self.send(byte)
            await asyncio.sleep(0.05)

    async def rest(self) -> bytes:
        """Return all bytes until the server closes."""
        heard = bytearray()
        with suppress(ConnectionError):
            while chunk := await self.reader.read(65536):
                heard += chunk
        return bytes(heard)


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[int]:
    """Yield the port of a server with the app."""
    config = uvicorn.Config(app, port=0, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        port: int = server.servers[0].sockets[0].getsockname()[1]
        yield port
    finally:
        server.should_exit = server.force_exit = True
        await running


@asynccontextmanager
async def connect_to(port: int) -> AsyncIterator[SocketClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield SocketClient(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

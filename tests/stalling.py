"""A network between the service and its Postgres that can stall."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Connection:
    """A connection through the network. Data arrives only while it is open."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()


class Network:
    """A proxy of the Postgres of a URL."""

    def __init__(self, postgres_url: str) -> None:
        self._postgres = urlsplit(postgres_url)
        self._running: set[asyncio.Task[None]] = set()
        self.connections: list[Connection] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://{self._postgres.username}@127.0.0.1:{self.port}{self._postgres.path}?sslmode=disable"

    def stop(self) -> None:
        """Stall all present connections; new ones work."""
        for line in self.connections:
            line.is_open.clear()

    def go_on(self) -> None:
        for line in self.connections:
            line.is_open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Connection()
        self.connections.append(line)
        back, forth = await self._connect()
        for work in (self._pass_on(reader, forth, line), self._pass_on(back, writer, Connection())):
            task = asyncio.create_task(work)
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        query = {name: values[0] for name, values in parse_qs(self._postgres.query).items()}
        port = int(query.get("port") or self._postgres.port or 5432)
        host = query.get("host") or self._postgres.hostname or "127.0.0.1"
        if host.startswith("/"):
            return await asyncio.open_unix_connection(Path(host, f".s.PGSQL.{port}"))
        return await asyncio.open_connection(host, port)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Connection) -> None:
        with suppress(ConnectionError):  # at the end of a connection
            try:
                while data := await reader.read(65_536):
                    await line.is_open.wait()
                    writer.write(data)
            finally:
                writer.close()

    async def end(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


@asynccontextmanager
async def network_to(postgres_url: str) -> AsyncIterator[Network]:
    network = Network(postgres_url)
    server = await asyncio.start_server(network.serve, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
        await network.end()

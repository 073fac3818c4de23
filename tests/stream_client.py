"""A client of the stream of an app in this process, as httpx.ASGITransport waits for the end of a response."""

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from fastapi import FastAPI

from tests.conftest import API_KEY

EVENT_TIMEOUT = 300  # seconds; other tests' transactions on the same server delay the feed

Message = MutableMapping[str, Any]


@dataclass(frozen=True)
class Event:
    """A server-sent event, or a comment."""

    id: str = ""
    type: str = ""
    data: Any = None
    retry: str = ""
    comment: str = ""

    @classmethod
    def parse(cls, block: str) -> Self:
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        data = json.loads(fields["data"]) if "data" in fields else None
        comment = block if block.startswith(":") else ""
        return cls(fields.get("id", ""), fields.get("event", ""), data, fields.get("retry", ""), comment)

    @property
    def interview_and_sequence(self) -> tuple[str, int]:
        return self.data["data"]["interviewId"], self.data["data"]["sequence"]


class StreamClient:
    """`async with` connects and disconnects. While `takes` is not set, it reads nothing from the app."""

    def __init__(self, app: FastAPI, *, after: str = "", key: str = API_KEY, query: str = "") -> None:
        headers = [(b"authorization", f"Bearer {key}".encode())]
        if after:
            headers.append((b"last-event-id", after.encode()))
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},  # uvicorn's
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/interviews/stream",
            "raw_path": b"/interviews/stream",
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "server": ("test", 80),
            "client": ("test", 1),
        }
        self._app = app
        self._came: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._rest: list[Event] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.blocks = asyncio.Event()
        """Set once the app has waited for this client to read."""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self._run())
        start = await self._came.get()
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._gone.set()
        self.takes.set()
        await self.task

    async def next(self, *, comments: bool = False) -> Event:
        """Return the next event. Raises EOFError at the stream's end."""
        async with asyncio.timeout(EVENT_TIMEOUT):  # comments never end
            while (event := await self._next()).comment and not comments:
                pass
            return event

    async def _next(self) -> Event:
        while not self._rest:
            message = await self._came.get()
            blocks = message["body"].decode().split("\n\n")
            assert blocks.pop() == "", "an event was cut"
            self._rest = [Event.parse(block) for block in blocks]
            if not self._rest and not message["more_body"]:
                raise EOFError
        return self._rest.pop(0)

    async def changes(self, count: int) -> list[Event]:
        """Return the next changes, without `ready`."""
        events: list[Event] = []
        while len(events) < count:
            event = await self.next()
            if event.type != "ready":
                events.append(event)
        return events

    async def body(self) -> Any:
        """Return the JSON of a response that is not a stream."""
        return json.loads((await self._came.get())["body"])

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)
        self._came.put_nowait({"body": b"", "more_body": False})  # uvicorn closes an incomplete response

    async def _receive(self) -> Message:
        if not self._gone.is_set():
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if not self.takes.is_set():
            self.blocks.set()
            await self.takes.wait()
        self._came.put_nowait(message)

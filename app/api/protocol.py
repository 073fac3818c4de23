"""uvicorn's HTTP/1.1, with the limits that it lacks: a slow or endless sender does not keep its connection.

uvicorn closes an idle connection between two requests only; a client that sends a byte now and then, or nothing at all,
stays for ever, and its parser keeps headers of any size. Bodies have their limits in deps.read_body too, which can
answer in full; here is what no handler sees.
"""

import asyncio
import socket
from http import HTTPStatus

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.secure_headers import SECURE

HEAD_WITHIN = 10.0  # seconds from the connection, or a request's first byte, to the end of its headers
BODY_WITHIN = 30.0  # seconds from there to the end of its body; above deps.BODY_WITHIN, which answers
LARGEST_HEAD = 32 * 1024  # bytes of address and headers
LARGEST_REST = 1024 * 1024  # bytes of a body that are read and dropped when the answer was given without it
UNREAD_WITHIN = 30_000  # milliseconds that an answer may wait for a client that does not read


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _arrived = 0  # bytes, of the head; or of what is dropped
    _head_too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux's: no timer of ours sees what the kernel can't deliver
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_WITHIN)
        self._arm(HEAD_WITHIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head or (self.cycle and self.cycle.response_complete):
            self._arrived += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self._deadline is None:
            return
        if self._in_head and self._arrived > LARGEST_HEAD:
            self._refuse(431, "headers_too_large", "Send smaller headers.")
        elif not self._in_head and self._arrived > LARGEST_REST:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:  # not the first request of the connection
            self._in_head = True
            self._arrived = 0
            self._arm(HEAD_WITHIN)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD:
            self._head_too_large = True
            raise ValueError("the parser turns it into an error of its own")
        super().on_headers_complete()
        self._in_head = False
        self._arrived = 0
        self._arm(BODY_WITHIN)

    def on_message_complete(self) -> None:
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_too_large:
            self._refuse(431, "headers_too_large", "Send smaller headers.")
        else:
            self._refuse(400, "request_invalid", "Send the request as HTTP/1.1.")

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._on_deadline, seconds)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self, seconds: float) -> None:
        if self.pipeline or self.flow.read_paused:  # it is we who do not read on
            self._arm(seconds)
        elif self._in_head and self._arrived:
            self._refuse(408, "request_too_slow", "Send the request faster.")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer what is no request for the app, and close."""
        title = HTTPStatus(status).phrase
        body = orjson.dumps({"title": title, "status": status, "detail": detail, "code": code})
        headers = (
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *SECURE,
        )
        lines = [f"HTTP/1.1 {status} {title}".encode(), *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()

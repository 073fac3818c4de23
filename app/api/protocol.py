"""uvicorn's HTTP/1.1, with the limits that it lacks: a slow or endless sender does not keep its connection.

uvicorn closes an idle connection between two requests only; a client that sends a byte now and then, or nothing at all,
stays for ever, and its parser keeps headers of any size. How large a body may be its call says, in deps.read_body.
"""

import asyncio
import logging
import socket
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.edge import SECURE, new_request_id
from app.api.headers import with_missing
from app.api.problems import problem_of
from app.errors import AppError, HeadersTooLarge, RequestInvalid, RequestTooSlow
from app.logs import request_id

log = logging.getLogger(__name__)

HEAD_WITHIN = 10.0  # seconds from the connection, or a request's first byte, to the end of its headers
BODY_WITHIN = 20.0  # seconds from there to the end of its body, however steadily it trickles
LARGEST_HEAD = 32 * 1024  # bytes of address and headers
LARGEST_REST = 1024 * 1024  # bytes of a body that are read and dropped when the answer was given without it
UNREAD_WITHIN = 30_000  # milliseconds that an answer may wait for a client that does not read


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _within: float | None = None
    """Seconds that what is being received may take, head or body; None: nothing is."""
    _is_other = False
    """Whether that has changed, and its deadline with it."""
    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _arrived = 0  # bytes, of the head; or of what is dropped
    _head_too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux's: no timer of ours sees what the kernel can't deliver
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_WITHIN)
        self._expect(HEAD_WITHIN)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        self._set_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head or (self.cycle and self.cycle.response_complete):
            self._arrived += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_other:  # not before: most requests come whole, and need no timer
            self._set_deadline()
        if self._within is None:
            return
        if self._in_head and self._arrived > LARGEST_HEAD:
            self._refuse(HeadersTooLarge())
        elif not self._in_head and self._arrived > LARGEST_REST:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._within is None:  # not the first request of the connection
            self._in_head = True
            self._arrived = 0
            self._expect(HEAD_WITHIN)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum([len(name) + len(value) for name, value in self.headers]) > LARGEST_HEAD:
            self._head_too_large = True
            raise ValueError("the parser turns it into an error of its own")
        super().on_headers_complete()
        self._in_head = False
        self._arrived = 0
        self._expect(BODY_WITHIN)

    def on_message_complete(self) -> None:
        self._expect(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_too_large:
            self._refuse(HeadersTooLarge())
        else:
            self._refuse(RequestInvalid())

    def _expect(self, within: float | None) -> None:
        self._within = within
        self._is_other = True

    def _set_deadline(self) -> None:
        self._is_other = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._within is not None:
            self._deadline = self.loop.call_later(self._within, self._on_deadline)

    def _on_deadline(self) -> None:
        if self.pipeline or self.flow.read_paused:  # it is we who do not read on
            self._set_deadline()
        elif self._is_waited_for():
            self._refuse(RequestTooSlow())
        else:
            self.transport.close()

    def _is_waited_for(self) -> bool:
        """Tell whether a request has begun that is not answered yet, nor in part."""
        if self._in_head:
            return self._arrived > 0
        return self.cycle is not None and not self.cycle.response_started

    def _refuse(self, error: AppError) -> None:
        """Answer what never becomes a request of the app's, or a whole one, and close."""
        told = request_id.set(new_request_id())
        answer = problem_of(error)
        log.info("refused before it was read: %d %s", error.status, error.code)
        request_id.reset(told)
        headers = with_missing(answer.raw_headers, (*SECURE, (b"connection", b"close")))
        status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
        lines = [status, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", answer.body]))
        self.transport.close()

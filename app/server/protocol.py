"""uvicorn's HTTP/1.1 protocol with timeouts and size limits, and without requests that a proxy could read differently.

uvicorn only closes connections that are idle between two requests. It waits forever for a client that sends nothing,
or a byte now and then, and accepts headers of any size. app.api.dependencies limits the size of bodies. It also accepts
a request without a Host or with two, of any version, and loses the body of one that asks for an upgrade.
"""

import asyncio
import logging
import re
import socket
from http import HTTPStatus

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.headers import Header, with_missing
from app.api.middleware import SECURE, new_request_id
from app.api.problems import problem_of
from app.core.errors import AppError, HeadersTooLarge, RequestInvalid, RequestTooSlow
from app.core.hosts import MAX_PORT
from app.core.logging import request_id

log = logging.getLogger(__name__)

HEAD_TIMEOUT = 10.0  # seconds from the connection, or from a request's first byte, to the end of its headers
BODY_TIMEOUT = 20.0  # seconds from the end of the headers to the end of the body
MAX_HEAD = 32 * 1024  # bytes of URL and headers
MAX_DISCARDED = 1024 * 1024  # bytes of a body that are read and discarded after an early response
WRITE_TIMEOUT_MS = 30_000  # how long sent data may stay unacknowledged by a client that does not read
# RFC 3986: a name or an IPv6 address in brackets, and perhaps a port; no comma, no path, no user
HOST = re.compile(rb"(?:\[[\w:.%]+\]|[\w.~!$&'()*+;=%-]*)(?::(\d{0,5}))?")
ABSOLUTE = re.compile(rb"[a-z][\w+.-]*://([^/?#]*)", re.I)  # a URL with its host, as proxies get it
REFUSE = "the parser turns this into HttpParserError, which is answered by send_400_response"


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _time_limit: float | None = None
    """Seconds to receive the current head or body; None while nothing is being received."""
    _timer_is_stale = False
    """Whether the limit was set again since the timer was started."""
    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _received = 0  # bytes of the current head, or of a discarded body
    _head_too_large = False
    _is_upgrade = False
    """Whether the current request asks for another protocol."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only; a timer here can't see what the kernel fails to deliver
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, WRITE_TIMEOUT_MS)
        self._limit_time(HEAD_TIMEOUT)
        self._restart_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit_time(None)
        self._restart_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head or (self.cycle and self.cycle.response_complete):
            self._received += len(data)
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._timer_is_stale:  # checked only now, as most requests arrive whole and need no timer
            self._restart_timer()
        if self._time_limit is None:
            return
        if self._in_head and self._received > MAX_HEAD:
            self._reject(HeadersTooLarge())
        elif not self._in_head and self._received > MAX_DISCARDED:
            self.transport.close()

    def _feed(self, data: bytes) -> None:
        """Parse like uvicorn, but ignore an upgrade, as RFC 9110 allows: parse its request again without the header.

        The parser takes all that follows the head of an upgrade for the other protocol: also the request's body.
        """
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)  # the old one reads no more after Connection: close
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            except httptools.HttpParserError:
                self.send_400_response("")
                return
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._time_limit is None:  # the first request's limit was set by connection_made
            self._in_head = True
            self._received = 0
            self._limit_time(HEAD_TIMEOUT)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum([len(name) + len(value) for name, value in self.headers]) > MAX_HEAD:
            self._head_too_large = True
            raise ValueError(REFUSE)
        if not _is_clear(self.parser.get_http_version(), self.url, self.headers):
            raise ValueError(REFUSE)
        self._is_upgrade = self.parser.should_upgrade()
        if self._is_upgrade:
            if self.parser.get_method() == b"CONNECT":
                raise ValueError(REFUSE)
            return
        super().on_headers_complete()
        self._in_head = False
        self._received = 0
        self._limit_time(BODY_TIMEOUT)

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        self._limit_time(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._reject(HeadersTooLarge() if self._head_too_large else RequestInvalid())

    def _limit_time(self, seconds: float | None) -> None:
        self._time_limit = seconds
        self._timer_is_stale = True

    def _restart_timer(self) -> None:
        self._timer_is_stale = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._time_limit is not None:
            self._timer = self.loop.call_later(self._time_limit, self._on_timeout)

    def _on_timeout(self) -> None:
        if self.pipeline or self.flow.read_paused:  # the server stopped reading, not the client sending
            self._restart_timer()
        elif self._awaits_response():
            self._reject(RequestTooSlow())
        else:
            self.transport.close()

    def _awaits_response(self) -> bool:
        """Return whether a request has begun and no part of its response was sent."""
        if self._in_head:
            return self._received > 0
        return self.cycle is not None and not self.cycle.response_started

    def _reject(self, error: AppError) -> None:
        """Send an error response for a request that the app does not get whole, and close the connection."""
        token = request_id.set(new_request_id())
        response = problem_of(error)
        log.info("connection closed with %d %s", error.status, error.code)
        request_id.reset(token)
        headers = with_missing(response.raw_headers, (*SECURE, (b"connection", b"close")))
        status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
        lines = [status, *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", response.body]))
        self.transport.close()


def _is_clear(version: str, url: bytes, headers: list[Header]) -> bool:
    """Return whether nobody could read the request's host or length in another way (RFC 9112)."""
    hosts = [value.strip() for name, value in headers if name == b"host"]
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    absolute = ABSOLUTE.match(url)
    if not all(_is_host(host) and (absolute is None or absolute[1].lower() == host.lower()) for host in hosts):
        return False
    if version == "1.1":
        return len(hosts) == 1 and codings in ([], [b"chunked"])
    return version == "1.0" and len(hosts) <= 1 and not codings


def _is_host(value: bytes) -> bool:
    match = HOST.fullmatch(value)
    return match is not None and int(match[1] or 0) <= MAX_PORT

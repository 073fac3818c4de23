"""Request smuggling: a request hidden in an ambiguous one, behind a proxy, gets no response."""

import pytest
from fastapi import FastAPI

from tests.sockets import connect_to, serving

POST = b"POST /interviews/c6aec8f5-592b-4b90-b7fd-a6a6404b31f9/join HTTP/1.1\r\nHost: localhost\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"Content-Length: +5\r\n\r\nabcde",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1;\n\r\na\r\n0\r\n\r\n",
        b"X-A: b\nX-C: d\r\n\r\n",
        b"X-A: b\r\n folded\r\n\r\n",
        b"X\0A: b\r\n\r\n",
    ],
)
async def test_an_ambiguous_request_is_refused_and_its_connection_closed(app: FastAPI, rest: bytes) -> None:
    async with serving(app) as port, connect_to(port) as attacker:
        await attacker.send(POST + rest + HIDDEN)
        answer = await attacker.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x, y\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: user@x/path\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost:99999\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost:x\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost:80:90\r\n",
        b"GET http://evil.example/health/live HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /health/live HTTP/1.0\r\nHost: localhost\r\nHost: y\r\nConnection: keep-alive\r\n",
        b"GET /health/live\r\n",
        b"GET /health/live HTTP/0.9\r\nHost: localhost\r\n",
        b"GET /health/live HTTP/2.0\r\nHost: localhost\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n",
    ],
)
async def test_a_request_whose_host_or_version_is_unclear_is_refused_and_closed(app: FastAPI, head: bytes) -> None:
    async with serving(app) as port, connect_to(port) as attacker:
        await attacker.send(head + b"\r\n" + HIDDEN)
        answer = await attacker.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "host", [b"x", b"", b"127.0.0.1:8000", b"[::1]:8000", b"a-b.example", b"a_b:80", b"%C3%A4.de", b"x "]
)
async def test_a_host_as_clients_send_it_is_taken(app: FastAPI, host: bytes) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(b"GET /health/live HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host)
        assert (await client.rest())[:13] in (b"HTTP/1.1 200 ", b"HTTP/1.1 421 ")  # a local start answers to few names
    async with serving(app) as port, connect_to(port) as client:
        await client.send(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")

"""Request smuggling: a request hidden in an ambiguous one, behind a proxy, gets no response."""

import pytest
from fastapi import FastAPI

from tests.sockets import connect_to, serving

POST = b"POST /interviews/c6aec8f5-592b-4b90-b7fd-a6a6404b31f9/join HTTP/1.1\r\nHost: x\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"Content-Length: +5\r\n\r\nabcde",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
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

"""Timeouts and size limits of a connection, on real sockets, with short limits."""

import asyncio
import importlib
import json
import pkgutil
import re
from operator import attrgetter

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response, StreamingResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app import api
from app.core.logging import LineFormatter
from app.server import protocol
from tests.sockets import connect_to, serving

SHORT = 1.0  # seconds, long enough for a test to send its first bytes
POST = b"POST /webhooks/livekit HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
MEGABYTE = 1024 * 1024


@pytest.fixture
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", SHORT)
    monkeypatch.setattr(protocol, "BODY_TIMEOUT", SHORT)


short_limits = pytest.mark.usefixtures("_short_limits")


def problem(answer: bytes) -> tuple[int, str]:
    """Return the status and the code of an error response, after checks of its headers and request id."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"x-content-type-options: nosniff" in lines
    found = json.loads(body)
    assert found["status"] == int(head.split()[1])
    assert re.fullmatch("[0-9a-f]{16}", found["requestId"])
    return found["status"], found["code"]


def assert_too_slow(answer: bytes) -> None:
    """The client gets a timeout response, or a reset if it sends after the server closed."""
    assert not answer or problem(answer) == (408, "request_too_slow")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"no http\r\n\r\n", 400, "request_invalid"),
        (GET + b"Content-Length: x\r\n\r\n", 400, "request_invalid"),
        (GET + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (GET + b"X-A: " + b"a" * 40_000, 431, "headers_too_large"),
        (GET + b"X-A: a\r\n" * 5_000, 431, "headers_too_large"),
        (b"GET /" + b"a" * 40_000, 431, "headers_too_large"),
    ],
)
async def test_a_malformed_request_is_answered_and_closed(app: FastAPI, sent: bytes, status: int, code: str) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(sent)
        assert problem(await client.rest()) == (status, code)


@short_limits
@pytest.mark.parametrize("sent", [GET + b"X-A: ", POST + b"Content-Length: 100\r\n\r\nab"], ids=["head", "body"])
async def test_an_unfinished_request_is_answered_and_closed(app: FastAPI, sent: bytes) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(sent)
        assert problem(await client.rest()) == (408, "request_too_slow")


async def test_a_malformed_request_is_in_the_log(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    caplog.handler.setFormatter(LineFormatter())
    async with serving(app) as port, connect_to(port) as client:
        await client.send(b"no http\r\n\r\n")
        _, _, body = (await client.rest()).partition(b"\r\n\r\n")
    logged = f"[{json.loads(body)['requestId']}] connection closed with 400 request_invalid"
    assert logged in caplog.text


async def test_responses_are_valid_http(app: FastAPI) -> None:
    async def whole() -> Response:
        return Response("body")

    async def streamed() -> Response:
        return StreamingResponse(iter(["bo", "dy"]))

    app.add_api_route("/whole", whole, methods=["GET", "HEAD"])
    app.add_api_route("/streamed", streamed)
    rest = b" HTTP/1.1\r\nHost: localhost\r\n"
    async with serving(app) as port, connect_to(port) as client:
        for sent in (b"GET /whole", b"HEAD /whole", b"GET /streamed"):
            await client.send(sent + rest + b"\r\n")
        await client.send(b"GET /whole" + rest + b"Connection: close\r\n\r\n")
        responses = re.findall(rb"HTTP/1.1 200 OK\r\n(.*?)\r\n\r\n(.*?)(?=HTTP|$)", await client.rest(), re.DOTALL)
    heads = [head.split(b"\r\n") for head, _ in responses]
    assert [body for _, body in responses] == [b"body", b"", b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", b"body"]
    assert [b"content-length: 4" in head for head in heads] == [True, True, False, True]
    assert [b"transfer-encoding: chunked" in head for head in heads] == [False, False, True, False]
    assert [b"connection: close" in head for head in heads] == [False, False, False, True]


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ((b"x-a", b"a\r\nset-cookie: a=b"), b"body"),
        ((b"x-a", b"a\nset-cookie: a=b"), b"body"),
        ((b"x-a", b"a\0"), b"body"),
        ((b"x-a", b"a"), b"longer"),
        ((b"x-a", b"a"), b"a"),
    ],
)
async def test_a_malformed_response_is_cut_off(app: FastAPI, header: tuple[bytes, bytes], body: bytes) -> None:
    async def malformed() -> Response:
        response = Response(body)
        response.raw_headers = [(b"content-length", b"4"), header]
        return response

    app.add_api_route("/malformed", malformed)
    async with serving(app) as port, connect_to(port) as client:
        await client.send(b"GET /malformed HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, _, received = (await client.rest()).partition(b"\r\n\r\n")
    assert len(received) < 4


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.2, x"])
@pytest.mark.parametrize("connection", [b"Upgrade", b"Upgrade, HTTP2-Settings", b"keep-alive, upgrade"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("step", [7, 10_000], ids=["in_pieces", "at_once"])
async def test_an_upgrade_is_ignored_and_what_follows_is_read(
    app: FastAPI, upgrade: bytes, connection: bytes, body: bytes, step: int
) -> None:
    """Java's HttpClient asks for h2c with its first request over http, whatever the method."""

    async def echo(request: Request) -> Response:
        return Response(request.method.encode() + await request.body())

    app.add_api_route("/echo", echo, methods=["GET", "POST"])
    asks = b" /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: %s\r\nConnection: %s\r\n" % (upgrade, connection)
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    sent = b"POST" + asks + body + b"GET" + asks + b"\r\n" + last
    async with serving(app) as port, connect_to(port) as client:
        for start in range(0, len(sent), step):
            await client.send(sent[start : start + step])
            await asyncio.sleep(0)
        answers = re.findall(rb"HTTP/1.1 200 OK\r\n.*?\r\n\r\n(.*?)(?=HTTP|$)", await client.rest(), re.DOTALL)
    assert answers == [b"POSTbody", b"GET", b'{"status":"ok"}']


async def test_an_upgrade_that_closes_is_answered_and_closed(app: FastAPI) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(GET + b"Upgrade: h2c\r\nConnection: close, upgrade\r\n\r\n" + GET + b"\r\n")
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.count(b"HTTP/1.1 ") == 1


@short_limits
@pytest.mark.parametrize("begun", [GET + b"X-A: ", POST + b"Content-Length: 100000\r\n\r\n"], ids=["head", "body"])
async def test_a_trickling_client_is_cut_off(app: FastAPI, begun: bytes) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(begun)
        _, answer = await asyncio.gather(client.trickle(), client.rest())
        assert_too_slow(answer)


@short_limits
async def test_an_unread_body_has_limits_too(app: FastAPI) -> None:
    """The handler responds before the body arrives; uvicorn alone would read the rest forever."""
    async with serving(app) as port, connect_to(port) as client:
        await client.send(GET + b"\r\n")  # an app's first request is slow, and the limits are short
        assert b"200 OK" in await client.reader.readuntil(b"}")
        await client.send(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        _, answer = await asyncio.gather(client.trickle(), client.rest())
        assert problem(answer) == (404, "not_found")


@short_limits
async def test_a_silent_connection_is_closed_without_a_response(app: FastAPI) -> None:
    """A browser opens connections that it may never use."""
    async with serving(app) as port, connect_to(port) as client:
        assert await client.rest() == b""


@short_limits
async def test_the_second_request_of_a_connection_has_the_same_limits(app: FastAPI) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(GET + b"\r\n")
        assert b"200 OK" in await client.reader.readuntil(b"}")
        await client.send(GET + b"\r\n")
        assert b"200 OK" in await client.reader.readuntil(b"}")
        await client.send(GET)
        _, answer = await asyncio.gather(client.trickle(), client.rest())
        assert_too_slow(answer)


async def test_a_body_announced_as_too_large_is_rejected_unread(app: FastAPI) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(POST + b"Content-Length: 99999999999999999999\r\n\r\n")
        assert problem(await client.rest())[0] in (400, 413)
        async with connect_to(port) as other:
            await other.send(POST + b"Content-Length: 104857600\r\nExpect: 100-continue\r\n\r\n")
            assert problem(await other.rest()) == (413, "body_too_large")


async def test_a_hundred_megabytes_in_chunks_are_cut_off(app: FastAPI) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 100 and not client.reader.at_eof():
            await client.send(b"%x\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE))
            sent += 1
            if client.writer.is_closing() or client.reader.exception():
                break
        assert sent < 20  # two are read, one is discarded, the rest fits into buffers


@short_limits
async def test_a_slow_handler_is_not_taken_for_a_slow_client(app: FastAPI) -> None:
    async def slow() -> Response:
        await asyncio.sleep(1.5 * SHORT)
        return Response("done")

    app.add_api_route("/slow", slow, methods=["POST"])
    async with serving(app) as port, connect_to(port) as client:
        await client.send(
            b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab" * 2
        )  # the second waits
        assert await client.reader.readuntil(b"done")
        assert await client.reader.readuntil(b"done")


async def test_a_client_that_does_not_read_is_disconnected(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_TIMEOUT_MS", 500)
    ended = asyncio.Event()

    async def large() -> Response:
        return Response(b"x" * 64 * MEGABYTE)

    class Watched(protocol.BoundedProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            ended.set()

    monkeypatch.setattr("tests.sockets.BoundedProtocol", Watched)
    app.add_api_route("/large", large)
    async with serving(app) as port, connect_to(port) as client:
        await client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 30)


def test_no_endpoint_reads_its_body_through_fastapi() -> None:
    """FastAPI does not limit the size of a body; api.dependencies.read_body does."""
    modules = [importlib.import_module(f"app.api.{found.name}") for found in pkgutil.iter_modules(api.__path__)]
    routers = [module.router for module in modules if isinstance(getattr(module, "router", None), APIRouter)]
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    assert "/webhooks/livekit" in [route.path for route in routes]
    assert [route.path for route in routes if route.body_field is not None] == []


INTERNALS = (  # undocumented attributes that BoundedProtocol reads
    "transport", "loop", "url", "headers", "pipeline", "flow.read_paused", "parser", "_unset_keepalive_if_required",
    "cycle.response_started", "cycle.response_complete",
)  # fmt: skip


async def test_uvicorn_has_the_internals_that_we_use(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[object] = []

    class Noted(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            connections.append(self)
            super().data_received(data)

    monkeypatch.setattr("tests.sockets.BoundedProtocol", Noted)
    async with serving(app) as port, connect_to(port) as client:
        await client.send(GET + b"Connection: close\r\n\r\n")
        assert b"200 OK" in await client.rest()

    def has(name: str) -> bool:
        try:
            attrgetter(name)(connections[0])
        except AttributeError:
            return False
        return True

    missing = [name for name in INTERNALS if not has(name)]
    overridden = [name for name in vars(protocol.BoundedProtocol) if not name.startswith("_")]
    missing += [f"{name}()" for name in overridden if name not in vars(HttpToolsProtocol)]
    assert not missing, (
        f"uvicorn {uvicorn.__version__} has no {', '.join(missing)} in HttpToolsProtocol: "
        f"adapt {protocol.__name__}, then raise uvicorn's bound in pyproject.toml"
    )

"""HEAD on every GET call: the status and the headers of GET, without a body."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.main import ROUTERS
from tests.attacks.document import ASKED, ENDLESS, Operation, Owner, operations
from tests.conftest import API_KEY, AUTHORIZED
from tests.sockets import connect_to, serving

READING = [each for each in operations() if each.method == "GET" and str(each) not in ENDLESS]
PAGES = ["/", "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json"]
DIFFERENT = {"x-request-id", "ratelimit", "date"}


def headers_of(answer: httpx.Response) -> dict[str, str]:
    different = DIFFERENT | ({"content-length"} if answer.request.url.path == "/metrics" else set())
    return {name: value for name, value in answer.headers.items() if name not in different}


@pytest.mark.parametrize("operation", READING, ids=str)
async def test_a_call_answers_head_as_get_without_a_body(operation: Operation, owner: Owner) -> None:
    ids = await owner.new(operation)
    path = operation.path.format_map(ids)
    params = ASKED[str(operation)](owner) if str(operation) in ASKED else {}
    get, head = await owner.call("GET", path, params=params), await owner.call("HEAD", path, params=params)
    assert (head.status_code, headers_of(head)) == (get.status_code, headers_of(get))
    assert get.status_code == 200
    assert head.content == b""


@pytest.mark.parametrize("operation", READING, ids=str)
async def test_head_needs_the_key_that_get_needs(client: httpx.AsyncClient, operation: Operation) -> None:
    path = re.sub(r"{\w+}", "00000000-0000-0000-0000-000000000001", operation.path)
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, headers_of(head)) == (get.status_code, headers_of(get))
    assert (head.status_code == 401) == operation.is_guarded


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_answers_head(client: httpx.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, headers_of(head)) == (200, headers_of(get))
    assert head.headers["content-length"] == str(len(get.content))


def test_these_are_all_routes() -> None:
    """A new route is either an operation of the document, or among the pages above."""
    paths = [route.path for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    documented = {re.sub(":interview}", "}", path) for path in paths} - {each.path for each in operations()}
    assert documented == set(PAGES) - {"/openapi.json"}


async def test_allow_names_head_where_get_is_allowed(client: httpx.AsyncClient) -> None:
    for path in ("/interviews/summary", "/", "/health/live"):
        answer = await client.post(path, headers=AUTHORIZED)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    answer = await client.head("/interviews/batch")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


async def test_head_of_a_stream_ends_at_once(app: FastAPI) -> None:
    key = f"Authorization: Bearer {API_KEY}\r\n".encode()
    head = b"HEAD /interviews/stream HTTP/1.1\r\nHost: localhost\r\n"
    async with serving(app) as port, connect_to(port) as client:
        await client.send(head + key + b"\r\n" + head + b"\r\n" + head + b"Connection: close\r\n" + key + b"\r\n")
        answers = await asyncio.wait_for(client.rest(), 30)
    heads = answers.split(b"\r\n\r\n")
    assert [each.split(b"\r\n")[0] for each in heads] == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 401 Unauthorized",
        b"HTTP/1.1 200 OK",
        b"",
    ]
    assert b"content-type: text/event-stream" in heads[0]


async def test_head_over_a_socket_has_no_body(app: FastAPI) -> None:
    async with serving(app) as port, connect_to(port) as client:
        await client.send(b"HEAD /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = (await client.rest()).split(b"\r\n\r\n")
    assert [each[:15] for each in answers] == [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b""]
    assert b"content-length: 15" in answers[0]

"""Malicious texts in every field: SQL, header lines, NUL, surrogates, megabytes.

The tests read the OpenAPI document, so new fields are covered automatically.
"""

import json
from copy import deepcopy
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from tests.attacks.conftest import everything
from tests.attacks.document import ENDLESS, MADE, Ids, Operation, Owner, body_of, operations, texts_of
from tests.calls import NEW, claims_of

Sessions = async_sessionmaker[AsyncSession]

MEGABYTE = "x" * 1024 * 1024
LINES = "x\r\nX-Injected: yes\r\n\r\n<script>"
ATTACKS = {
    "quote": "O'Hara \"\\",
    "sql": "'; DROP TABLE interviews; --",
    "sql in dollars": "$1 $$ :name %(name)s {0} %s",
    "percent": "%00%27%0d%0aX-Injected:%20yes",
    "lines": LINES,
    "NUL": "a\0b",
    "half a character": "a\ud800b",
    "megabyte": MEGABYTE,
    "empty": "",
    "markup": "<img src=x onerror=alert(1)>",
    "right to left": "\u202eabc\ufeff",
}
IN_ADDRESSES = [
    "%27%3B%20DROP%20TABLE%20interviews%3B%20--",
    "%27%20OR%20%271%27%3D%271",
    "%00",
    "x%00y",
    "%0d%0aX-Injected:%20yes",
    "%ED%A0%80",
    "%FF%FE",
    "%2500",
    "..%2f..%2fetc",
    "x" * 300,
    "%D9%A1",
]
IN_HEADERS = [
    b"' OR '1'='1",
    b"\xff\xfe",
    b"%0d%0aX-Injected: yes",
    b"x\tX-Injected: yes",
    b"\"'; DROP TABLE changes",
    b"*",
]
DIFFER = {
    "invite",  # the response has a new secret under the same name
    "url",  # percent-encoded in the response
}
ALL = operations()
WITH_TEXTS = [each for each in ALL if each.body is not None]
WITH_QUERY = [each for each in ALL if each.parameters("query")]
WITH_HEADERS = [each for each in ALL if each.parameters("header")]


def assert_harmless(answer: httpx.Response, given: object) -> None:
    """Check that the text was accepted or refused with a problem, and added no header."""
    assert answer.status_code < 500, (given, answer.text)
    assert "X-Injected" not in answer.headers
    assert not any("\n" in value or "\r" in value for value in answer.headers.values())
    if answer.is_client_error:
        assert answer.json()["code"], given


def with_text(body: dict[str, Any], place: tuple[str | int, ...], text: str) -> dict[str, Any]:
    """Return the body with the text at the path, which is created if the example lacks it."""
    changed: Any = deepcopy(body)
    inner = changed
    for key, following in zip(place, (*place[1:], None), strict=True):
        if following is None:
            if isinstance(key, int):
                inner[:] = [text]
            else:
                inner[key] = text
        elif isinstance(key, int):
            inner = inner[key]
        else:
            inner = inner.setdefault(key, [] if isinstance(following, int) else {})
    found: dict[str, Any] = changed
    return found


def value_at(answer: Any, place: tuple[str | int, ...]) -> object:
    """Return the value at the path of the response, or None; the response of a batch has `data`."""
    for key in place:
        if isinstance(answer, dict):
            answer = answer.get("data" if key == "interviews" else key)
        elif isinstance(answer, list) and isinstance(key, int):
            answer = answer[key]
        else:
            return None
    found: object = answer
    return found


def as_json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()  # json.dumps escapes surrogates


@pytest.mark.parametrize("operation", WITH_TEXTS, ids=str)
async def test_a_text_in_a_body_is_stored_unchanged_or_refused(
    operation: Operation, owner: Owner, other: Owner, sessions: Sessions
) -> None:
    for make in (MADE["interview_id"], MADE["endpoint_id"]):
        await make(other, {})
    theirs = rows_of(await everything(sessions))
    ids = await owner.new(operation)
    body = body_of(operation, ids)
    places = list(texts_of(operation))
    assert body is not None
    assert places, "no text field was found in the schema of this body"
    for place in places:
        for text in ATTACKS.values():
            answer = await send(owner, operation, ids, as_json(with_text(body, place, text)))
            assert_harmless(answer, (place, text[:40]))
            shown = value_at(answer.json(), place) if answer.is_success and answer.content else None
            assert shown in (None, text) or place[-1] in DIFFER, (place, text[:40])
    assert theirs <= rows_of(await everything(sessions))


def rows_of(stored: str) -> set[str]:
    return set(stored.splitlines())


async def send(owner: Owner, operation: Operation, ids: Ids, body: bytes) -> httpx.Response:
    return await owner.call(operation.method, operation.path.format_map(ids), content=body)


@pytest.mark.parametrize("operation", WITH_QUERY, ids=str)
async def test_a_text_in_a_query_is_used_or_refused(operation: Operation, owner: Owner, sessions: Sessions) -> None:
    ids = await owner.new(operation)
    before = await everything(sessions)
    for parameter in operation.parameters("query"):
        for text in IN_ADDRESSES:
            path = f"{operation.path.format_map(ids)}?{parameter['name']}={text}"
            assert_harmless(await owner.call(operation.method, path), path[:120])
    assert await everything(sessions) == before


@pytest.mark.parametrize("operation", [each for each in ALL if each.ids], ids=str)
async def test_a_text_in_a_path_is_not_found(operation: Operation, owner: Owner, sessions: Sessions) -> None:
    ids = await owner.new(operation)
    before = await everything(sessions)
    body = body_of(operation, ids)
    for name in operation.ids:
        for text in IN_ADDRESSES:
            path = operation.path.format_map(ids | {name: text})
            answer = await owner.call(operation.method, path, json=body)
            assert_harmless(answer, path[:120])
            assert answer.status_code in (404, 405), path
    assert await everything(sessions) == before


@pytest.mark.parametrize("operation", WITH_HEADERS, ids=str)
async def test_a_text_in_a_header_adds_no_other_header(operation: Operation, owner: Owner) -> None:
    ids = await owner.new(operation)
    body = body_of(operation, ids)
    for parameter in operation.parameters("header"):
        for text in IN_HEADERS:
            headers = {parameter["name"]: text, "X-Request-Id": text}
            if str(operation) in ENDLESS:
                answer = await owner.call(operation.method, operation.path, headers=headers)
            else:
                answer = await owner.call(operation.method, operation.path.format_map(ids), json=body, headers=headers)
            assert_harmless(answer, (parameter["name"], text))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("NUL", "half a character", "megabyte")])
async def test_a_stored_text_is_read_back_unchanged(owner: Owner, name: str) -> None:
    """In every response: the interview, the list, the join, the agent's context, the endpoint."""
    text = ATTACKS[name] or " . "
    body = NEW | {"jobTitle": text, "participantName": text, "instructions": text, "context": {text: [text]}}
    made = await owner.made("/interviews", body)
    path = f"/interviews/{made['interviewId']}"
    joined = (await owner.client.post(f"{path}/join")).json()
    metadata = json.loads(claims_of(joined["participantToken"])["metadata"])
    (listed,) = (await owner.call("GET", "/interviews")).json()["data"]
    for shown in (made, joined, metadata, listed, (await owner.call("GET", path)).json()):
        assert (shown["jobTitle"], shown["participantName"], shown["instructions"]) == (text, text, text)
    assert (await owner.call("GET", f"{path}/context")).json()["context"] == {text: [text]}
    endpoint = await owner.made("/webhook-endpoints", {"url": "https://8.8.8.8/", "description": text})
    assert endpoint["description"] == text

"""Rate limits: by address, by key, their headers, and the calls without limits.

Windows are a year long, so that none ends within a test.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.api.rate_limits import UNLIMITED
from app.auth.api_keys import Scope, create_key
from app.core.limit_notation import parse_limit
from app.core.rate_limits import OwnCounters, RateLimit
from app.interviews.schedule import ensure_default_organization
from app.main import create_app
from tests.conftest import API_KEY, AUTHORIZED, make_settings
from tests.interviews.test_races import NEW

Sessions = async_sessionmaker[AsyncSession]
From = Callable[[str], httpx.AsyncClient]
YEAR = 31_104_000  # seconds, of limits' notation
TOLD = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')
JOIN = "/interviews/c6aec8f5-592b-4b90-b7fd-a6a6404b31f9/join"  # an unknown id: 404, and counted


@pytest.fixture
async def from_(sessions: Sessions, request: pytest.FixtureRequest) -> AsyncIterator[From]:
    """Clients of one app, each from an address of its own; three calls of an address, and two of a key, a year."""
    limits = {"rate_limit_per_address": "3/year", "rate_limit_per_key": "2/year"} | getattr(request, "param", {})
    app = create_app(make_settings(**limits), sessions)
    async with AsyncExitStack() as open_clients:
        made = []

        def client(address: str) -> httpx.AsyncClient:
            made.append(client_from(app, address))
            open_clients.push_async_callback(made[-1].aclose)
            return made[-1]

        yield client


def client_from(app: FastAPI, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=(address, 1)), base_url="http://localhost")


def limits_of(answer: httpx.Response) -> dict[str, int]:
    """Return the remaining requests of each limit in the response's headers."""
    standings = TOLD.findall(answer.headers.get("RateLimit", ""))
    assert all(1 <= int(reset) <= YEAR for _, _, reset in standings)
    return {name: int(remaining) for name, remaining, _ in standings}


def assert_limited(answer: httpx.Response, *, by: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]
    (reset,) = [reset for name, remaining, reset in TOLD.findall(answer.headers["RateLimit"]) if name == by]
    assert answer.headers["Retry-After"] == reset
    assert limits_of(answer)[by] == 0


async def test_an_address_sees_its_limit_and_is_then_refused(from_: From) -> None:
    client = from_("192.0.2.1")
    for remaining in (2, 1, 0):
        answer = await client.post(JOIN)
        assert answer.status_code == 404
        assert limits_of(answer) == {"address": remaining}
        assert answer.headers["RateLimit-Policy"] == '"address";q=3;w=31104000'
        assert "Retry-After" not in answer.headers
    for answer in (await client.post(JOIN), await client.get("/nowhere"), await client.get("/docs")):
        assert_limited(answer, by="address")
    assert (await from_("192.0.2.2").post(JOIN)).status_code == 404


@pytest.mark.parametrize(
    ("other", "is_same"), [("2001:db8:0:1::ffff", True), ("2001:db8:0:2::1", False), ("2001:DB8::1:0:0:0:9", True)]
)
async def test_ipv6_counts_by_its_network(from_: From, other: str, is_same: bool) -> None:
    for _ in range(3):
        await from_("2001:db8:0:1::1").post(JOIN)
    assert (await from_(other).post(JOIN)).status_code == (429 if is_same else 404)


async def test_ipv4_in_ipv6_is_ipv4(from_: From) -> None:
    for address in ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201"):
        await from_(address).post(JOIN)
    assert_limited(await from_("192.0.2.1").post(JOIN), by="address")
    assert (await from_("::ffff:192.0.2.2").post(JOIN)).status_code == 404


async def test_a_key_is_limited_wherever_it_calls_from(from_: From) -> None:
    for number, remaining in ((1, 1), (2, 0)):
        answer = await from_(f"192.0.2.{number}").get("/interviews", headers=AUTHORIZED)
        assert answer.status_code == 200
        assert limits_of(answer) == {"address": 2, "key": remaining}
        assert answer.headers["RateLimit-Policy"] == '"address";q=3;w=31104000, "key";q=2;w=31104000'
    refused = await from_("192.0.2.3").get("/interviews", headers=AUTHORIZED)
    assert_limited(refused, by="key")
    assert limits_of(refused) == {"address": 2, "key": 0}
    assert API_KEY not in str(refused.headers) + refused.text


async def test_a_key_is_counted_once_a_call_and_each_for_itself(from_: From, sessions: Sessions) -> None:
    headers = AUTHORIZED | {"Idempotency-Key": "k"}
    made = await from_("192.0.2.1").post("/interviews", headers=headers, json=NEW)
    again = await from_("192.0.2.2").post("/interviews", headers=headers, json=NEW)
    assert (made.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert [limits_of(made)["key"], limits_of(again)["key"]] == [1, 0]  # a kept answer gets the current limits
    assert_limited(await from_("192.0.2.3").post("/interviews", headers=headers, json=NEW), by="key")
    wrong = await from_("192.0.2.3").get("/interviews", headers={"Authorization": "Bearer ik_wrong"})
    assert (wrong.status_code, limits_of(wrong)) == (401, {"address": 1})  # an unknown key has no count of its own
    other = {"Authorization": f"Bearer {await another_key(sessions)}"}
    assert (await from_("192.0.2.3").get("/interviews", headers=other)).status_code == 200


async def another_key(sessions: Sessions) -> str:
    async with sessions.begin() as session:
        organization_id = await ensure_default_organization(session)
        made = await create_key(
            session, organization_id=organization_id, name="other", scopes=[Scope.READ], now=datetime.now(UTC)
        )
    assert made
    return made[1]


async def test_livekit_and_operators_are_never_limited(from_: From) -> None:
    client = from_("192.0.2.1")
    for _ in range(4):
        assert (await client.post("/webhooks/livekit", content=b"{}")).status_code == 401
        for path in ("/health/live", "/health/ready", "/metrics"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "RateLimit" not in answer.headers
    assert limits_of(await client.post(JOIN)) == {"address": 2}


async def test_a_page_of_another_origin_reads_all_of_it_and_preflights_are_free(from_: From) -> None:
    client, origin = from_("192.0.2.1"), {"Origin": "http://localhost:3000"}
    for _ in range(5):
        preflight = origin | {"Access-Control-Request-Method": "POST"}
        assert (await client.options(JOIN, headers=preflight)).status_code == 200
    for _ in range(3):
        assert (await client.post(JOIN, headers=origin)).status_code == 404
    refused = await client.post(JOIN, headers=origin)
    assert_limited(refused, by="address")
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    exposed = set(refused.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {"Retry-After", "RateLimit", "RateLimit-Policy"}


@pytest.mark.parametrize("from_", [{"rate_limit_per_address": "none", "rate_limit_per_key": "NONE"}], indirect=True)
async def test_without_limits_nothing_is_counted_or_sent(from_: From) -> None:
    for _ in range(5):
        answer = await from_("192.0.2.1").get("/interviews", headers=AUTHORIZED)
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers
        assert "RateLimit-Policy" not in answer.headers


async def test_windows_begin_and_end_and_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Retry-After a client may call again, and no counter lives longer than two windows."""
    clock = 1_000_000.0
    monkeypatch.setattr("app.core.rate_limits.time.time", lambda: clock)
    monkeypatch.setattr("app.core.rate_limits.time.monotonic", lambda: clock)
    item = parse_limit("2 per 10 seconds")
    assert item
    counters = OwnCounters()
    limit = RateLimit("address", item, counters)
    ends: set[int] = set()
    for number in range(200):
        for is_over in (False, False, True, True):
            standing = await limit.count(f"192.0.2.{number}")
            assert standing
            assert standing.is_over == is_over
            ends.add(standing.reset)
            wait = standing.reset
        clock += wait - 1
        late = await limit.count(f"192.0.2.{number}")
        assert late
        assert late.is_over
        clock += late.reset
        again = await limit.count(f"192.0.2.{number}")
        assert again
        assert (again.is_over, again.remaining) == (False, 1)
    assert ends == set(range(1, 11))  # not all at the same second
    assert len(counters._current) + len(counters._previous) < 20  # noqa: SLF001 - nothing else tells what is held


def test_limits_are_documented_for_all_calls_that_have_them(app: FastAPI) -> None:
    document = app.openapi()
    assert document["paths"].keys() >= UNLIMITED
    for path, operations in document["paths"].items():
        for operation in operations.values():
            limited = operation["responses"].get("429", {"headers": {}})
            assert ("Retry-After" in limited["headers"]) == (path not in UNLIMITED), path
            for status, answer in operation["responses"].items():
                told_of = {"RateLimit", "RateLimit-Policy"} <= answer.get("headers", {}).keys()
                assert told_of == (path not in UNLIMITED), (path, status)
    assert document["components"]["headers"].keys() == {"RateLimit", "RateLimit-Policy", "Retry-After"}


@pytest.mark.parametrize("notation", ["", "600", "0/minute", "-1/minute", "600/minute;5/second", "1/parsec", "x"])
def test_an_invalid_notation(notation: str) -> None:
    with pytest.raises(ValueError, match="rate_limit_per_key"):
        make_settings(rate_limit_per_key=notation)


@pytest.mark.parametrize(
    "url", ["", "memcached://h", "http://h", "redis", "async+redis://h", "redis://:a/b@h:1", "redis://[h"]
)
def test_an_invalid_storage_url(url: str) -> None:
    with pytest.raises(ValueError, match="rate_limit_storage_url"):
        make_settings(rate_limit_storage_url=url)

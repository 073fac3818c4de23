"""A local start answers only to names of this machine: a page can let its own name point to 127.0.0.1."""

import json
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews.demo import DEMO_ID
from app.main import create_app
from tests import livekit_webhooks
from tests.api.test_problems import assert_problem
from tests.conftest import AUTHORIZED, client_of, make_settings

Sessions = async_sessionmaker[AsyncSession]


@pytest.mark.parametrize("path", ["/interviews", "/", "/docs", "/openapi.json", "/metrics", "/health/live", "/nowhere"])
async def test_a_name_of_somebody_else_is_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers=AUTHORIZED | {"Host": "evil.example:8000"})
    assert_problem(answer, 421, "host_not_allowed")
    assert "ALLOWED_ORIGINS" in answer.json()["detail"]


async def test_a_join_under_another_name_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/interviews/{DEMO_ID}/join", headers={"Host": "evil.example"})
    assert_problem(answer, 421, "host_not_allowed")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost.:1",
        "jobs.localhost",
        "127.0.0.1:9",
        "127.8.9.1",
        "[::1]",
        "[::1]:8000",
    ],
)
async def test_names_of_this_machine(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/interviews", headers=AUTHORIZED | {"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost.evil.example", "127.0.0.1.nip.io", "evillocalhost", "10.0.0.1", "[::2]", "::1",
        "localhost:80:80", "localhost@evil.example", "evil.example:127.0.0.1",
        "host.docker.internal:8000", "[localhost]",
    ],
)  # fmt: skip
async def test_what_only_looks_like_it(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/health/live", headers={"Host": host})).status_code == 421


async def test_livekits_webhooks_are_signed_so_any_name_will_do(client: httpx.AsyncClient) -> None:
    """A LiveKit in a container calls host.docker.internal."""
    name = {"Host": "host.docker.internal:8000"}
    event = livekit_webhooks.event("room_started", room=f"interview-{DEMO_ID}", at=datetime.now(UTC))
    body = json.dumps(event).encode()
    signed = livekit_webhooks.headers(body) | name
    assert (await client.post("/webhooks/livekit", content=body, headers=signed)).status_code == 200
    assert (await client.post("/webhooks/livekit", content=body, headers=name)).status_code == 401
    assert (await client.get("/webhooks/livekit", headers=name)).status_code == 421


async def test_the_host_of_an_allowed_origin_is_allowed(sessions: Sessions) -> None:
    """As of a tunnel to this machine."""
    settings = make_settings(allowed_origins=("https://me.ngrok.example", "http://localhost:3000"))
    async with client_of(create_app(settings, sessions)) as client:
        for host, status in (("me.ngrok.example", 200), ("me.ngrok.example:443", 200), ("you.ngrok.example", 421)):
            assert (await client.get("/health/live", headers={"Host": host})).status_code == status


async def test_elsewhere_any_name_is_answered(sessions: Sessions) -> None:
    """Which names lead to the service is known to the proxy before it, and its keys are not public."""
    settings = make_settings(host="0.0.0.0", **SAFE)  # noqa: S104 - nothing listens
    async with client_of(create_app(settings, sessions)) as client:
        assert (await client.get("/health/live", headers={"Host": "jobs.example"})).status_code == 200


SAFE = {
    "livekit_url": "wss://livekit.example",
    "livekit_api_secret": "s" * 32,
    "allowed_origins": ("https://hire.example",),
    "database_url": "postgresql://u@h/d",
}

"""The pages for people: / and Swagger UI work offline, and load or run nothing from elsewhere."""

import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.api.pages import DOCS
from app.core.database import create_engine, create_sessionmaker, transaction
from app.interviews.demo import DEMO_ID, ensure_demo
from app.interviews.schedule import ensure_default_organization
from app.livekit.access_tokens import signer_of
from app.main import create_app
from tests.conftest import client_of, make_settings
from tests.e2e.toolchain import ROOT

Sessions = async_sessionmaker[AsyncSession]

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"])
async def test_every_page_has_security_headers(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_load_nothing_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy.get("script-src", "'self'") == "'self'"
    assert not re.search(r"<script(?! src=\"docs/)|\son\w+=|(?:href|src)=\"(?:https?:)?//", answer.text)


async def test_the_index_links_to_the_rest(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    links = re.findall(r'href="([^"]+)"', page)
    assert links == ["docs", "openapi.json", "health/ready"]
    for link in links:
        assert (await client.get(f"/{link}")).status_code == 200
    assert "<script" not in page


async def index(
    sessions: Sessions, *, host: str = "127.0.0.1:8000", demo: bool = False, **settings: Any
) -> tuple[str, list[str]]:
    """Return the text of / and the commands in it."""
    if demo:
        async with transaction(sessions) as session:
            owner = await ensure_default_organization(session)
            await ensure_demo(session, organization_id=owner, now=datetime.now(UTC), signer=signer_of(make_settings()))
    async with client_of(create_app(make_settings(**settings), sessions)) as client:
        answer = await client.get("/", headers={"Host": host})
    assert answer.status_code == 200
    return answer.text, [unescape(call) for call in re.findall(r"<pre>(.*?)</pre>", answer.text, re.DOTALL)]


async def test_a_local_start_shows_the_calls_of_the_readme(sessions: Sessions) -> None:
    _, calls = await index(sessions, demo=True, bootstrap_api_key="ik_local")
    assert len(calls) == 4
    assert all(call in README for call in calls)
    assert [f"/interviews/{DEMO_ID}" in call for call in calls] == [True, True, False, False]
    assert calls[3] == "livekit-server --config .data/livekit.yaml"


async def test_the_index_shows_only_what_is_there(sessions: Sessions) -> None:
    """The address as the reader has it; the demo interview and the known key if they exist; LiveKit's own port."""
    page, calls = await index(sessions, host="localhost:9009", livekit_url="ws://127.0.0.1:7999", data_dir=Path("/d"))
    assert all(call.count("http://localhost:9009/") == 1 for call in calls[:3])
    assert "$INTERVIEW_ID" in calls[0]
    assert 'Bearer $API_KEY"' in calls[1]
    for absent in (str(DEMO_ID), "ik_local", ":8000", ":7880", ".data"):
        assert absent not in page
    assert "ws://127.0.0.1:7999" in page
    assert calls[3] == "livekit-server --config /d/livekit.yaml"


async def test_in_production_the_index_shows_neither_demo_nor_key_nor_a_local_livekit(sessions: Sessions) -> None:
    page, calls = await index(sessions, host="jobs.example", demo=True, **PRODUCTION)
    assert len(calls) == 3
    assert all(call.count("http://jobs.example/") == 1 for call in calls)
    for absent in (str(DEMO_ID), "ik_local", "127.0.0.1", "livekit-server", *map(str, PRODUCTION.values())):
        assert absent not in page


@pytest.mark.parametrize(
    ("policy", "shown"),
    [("open", "/join"), ("phone", """/join -d '{"phoneNumber": "966509876543"}'"""), ("invite", '"inv_...')],
)
async def test_the_join_fits_the_join_policy(sessions: Sessions, policy: str, shown: str) -> None:
    _, calls = await index(sessions, demo=True, join_policy=policy)
    assert shown in calls[0]
    assert any(call.endswith("/invite") for call in calls) is (policy == "invite")


@pytest.mark.parametrize("host", ['a"><script>alert(1)</script>', "a'b", "[", "a b", "é"])
async def test_a_hosts_name_cannot_add_to_the_page(sessions: Sessions, host: str) -> None:
    async with client_of(create_app(make_settings(**PRODUCTION), sessions)) as client:
        answer = await client.get("/", headers={b"Host": host.encode("latin-1")})
    assert answer.status_code < 500
    assert "<script" not in answer.text
    assert host not in answer.text or host == "["


async def test_without_a_database_the_index_is_there_all_the_same() -> None:
    engine = create_engine("postgresql://u@127.0.0.1:1/d")
    async with client_of(create_app(make_settings(), create_sessionmaker(engine))) as client:
        answer = await client.get("/")
    await engine.dispose()
    assert answer.status_code == 200
    assert str(DEMO_ID) not in answer.text


PRODUCTION = {
    "environment": "production",
    "livekit_url": "ws://127.0.0.1:7880",
    "livekit_api_secret": "s" * 32,
    "allowed_origins": ("https://hire.example",),
    "database_url": "postgresql://u@h/d",
}


async def test_every_file_that_swagger_loads_exists(client: httpx.AsyncClient) -> None:
    named = re.findall(r'(?:src|href)="(docs/[^"]+)"', DOCS)
    assert len(named) == 3
    for each in named:
        assert (await client.get(f"/{each}")).status_code == 200
    assert (await client.get("/docs/..%2fpyproject.toml")).status_code == 404

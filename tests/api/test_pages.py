"""The pages for people: / and Swagger UI work offline, and load or run nothing from elsewhere."""

import re

import httpx
import pytest

from app.api.pages import DOCS, INDEX
from app.interviews.demo import DEMO_ID
from tests.e2e.toolchain import ROOT

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
    links = re.findall(r'href="([^"]+)"', INDEX)
    assert links == ["docs", "openapi.json", "health/ready"]
    for link in links:
        assert (await client.get(f"/{link}")).status_code == 200
    assert "<script" not in INDEX


def test_the_index_has_the_calls_of_the_readme() -> None:
    calls = re.findall(r"<pre>(.*?)</pre>", INDEX, re.DOTALL)
    assert len(calls) == 3
    assert all(call in README for call in calls)
    assert [f"/interviews/{DEMO_ID}" in call for call in calls] == [True, True, False]


async def test_every_file_that_swagger_loads_exists(client: httpx.AsyncClient) -> None:
    named = re.findall(r'(?:src|href)="(docs/[^"]+)"', DOCS)
    assert len(named) == 3
    for each in named:
        assert (await client.get(f"/{each}")).status_code == 200
    assert (await client.get("/docs/..%2fpyproject.toml")).status_code == 404

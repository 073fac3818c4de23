"""The security headers of every response; and no response or log echoes a secret of the request."""

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from app.main import create_app
from tests import livekit_webhooks
from tests.conftest import AUTHORIZED, LIVEKIT_SECRET, client_of, make_settings

ID = "00000000-0000-4000-8000-000000000001"
ORIGIN = {"Origin": "http://localhost:5173"}
SECRET = "hush-966509876543"  # noqa: S105 - what must not come back
BASIC = "Basic aHVzaC05NjY1MDk4NzY1NDM="  # the same in base64


def assert_secure(answer: httpx.Response) -> None:
    assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.get_list("Referrer-Policy") == ["no-referrer"]
    assert answer.headers.get_list("Content-Security-Policy") == ["default-src 'none'; frame-ancestors 'none'"]
    assert answer.headers.get_list("Cache-Control") == ["no-store"]


async def test_every_answer_is_secure(app: FastAPI) -> None:
    async def fail() -> None:
        raise RuntimeError(SECRET)

    app.add_api_route("/fail", fail)
    preflight = {**ORIGIN, "Access-Control-Request-Method": "POST"}
    async with client_of(app) as client:
        for answer in (
            await client.get("/health/live"),
            await client.get("/metrics"),
            await client.get("/interviews", headers=AUTHORIZED),
            await client.get("/interviews"),
            await client.get("/nowhere"),
            await client.delete("/health/live"),
            await client.post(f"/interviews/{ID}/join"),
            await client.options("/interviews", headers=preflight),
            await client.options("/interviews", headers=preflight | {"Origin": "https://evil.example"}),
            await client.get("/fail", headers=ORIGIN),
        ):
            assert_secure(answer)
            assert "Strict-Transport-Security" not in answer.headers


async def test_in_production_responses_require_tls(app: FastAPI) -> None:
    given = {
        "bootstrap_api_key": "ik_" + "x" * 32,
        "allowed_origins": "https://a.example",
        "database_url": "postgresql://u@h/d",
    }
    settings = make_settings(environment="production", **given)
    async with client_of(create_app(settings, app.state.services.sessions)) as client:
        preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        for answer in (await client.get("/nowhere"), await client.options("/interviews", headers=preflight)):
            assert_secure(answer)
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_what_an_answer_says_itself_stands(app: FastAPI) -> None:
    async def page() -> Response:
        return Response("x", headers={"Content-Security-Policy": "default-src 'self'", "cache-control": "max-age=60"})

    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        return StreamingResponse(chunks())

    app.add_api_route("/page", page)
    app.add_api_route("/stream", stream)
    async with client_of(app) as client:
        answer = await client.get("/page")
        assert answer.headers.get_list("Content-Security-Policy") == ["default-src 'self'"]
        assert answer.headers.get_list("Cache-Control") == ["max-age=60"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        streamed = await client.get("/stream")
        assert streamed.text == "ab"
        assert_secure(streamed)


def requests_with_secrets() -> list[tuple[str, str, dict[str, object]]]:
    """Return requests that are refused for different reasons, with the secret in every place a caller may use."""
    forged = {"Authorization": livekit_webhooks.sign(b"", secret=SECRET * 2)}
    body = livekit_webhooks.encode({"event": SECRET, "room": {"name": SECRET}})
    new = {"candidateId": "c", "applicationId": "a", "jobPostId": "j", "jobTitle": "d", "phoneNumber": SECRET}
    places: list[tuple[str, str, dict[str, object]]] = [
        ("GET", "/interviews", {"headers": {"Authorization": f"Bearer {SECRET}"}}),
        ("GET", "/interviews", {"headers": {"Authorization": SECRET}}),
        ("GET", "/interviews", {"headers": {"Authorization": BASIC}}),
        ("GET", "/interviews", {"headers": {"X-Api-Key": SECRET, "Cookie": f"key={SECRET}"}}),
        ("GET", f"/interviews?key={SECRET}", {}),
        ("GET", f"/interviews?cursor={SECRET}", {"headers": AUTHORIZED}),
        ("GET", f"/interviews?limit={SECRET}", {"headers": AUTHORIZED}),
        ("GET", f"/interviews?status={SECRET}", {"headers": AUTHORIZED}),
        ("GET", f"/interviews/{SECRET}", {"headers": AUTHORIZED}),
        ("GET", f"/{SECRET}", {}),
        ("POST", "/health/live", {"content": SECRET}),
        ("POST", f"/interviews/{ID}/join", {"json": {"invite": SECRET, "phoneNumber": SECRET}}),
        ("POST", f"/interviews/{ID}/join", {"content": SECRET}),
        ("POST", f"/interviews/{ID}/complete", {"headers": AUTHORIZED, "json": {"outcome": SECRET, "summary": 5}}),
        ("POST", "/interviews", {"headers": AUTHORIZED, "json": new}),
        ("POST", "/interviews", {"headers": AUTHORIZED, "content": SECRET}),
        ("POST", "/interviews", {"headers": AUTHORIZED, "json": new | {"maxDuration": SECRET, "opensAt": SECRET}}),
        ("POST", "/webhooks/livekit", {"content": body, "headers": {"Authorization": SECRET}}),
        ("POST", "/webhooks/livekit", {"content": body, "headers": forged}),
        ("POST", "/webhooks/livekit", {"content": SECRET, "headers": livekit_webhooks.headers(SECRET.encode())}),
        ("PATCH", "/interviews", {"content": SECRET, "headers": {"X-Request-Id": f"{SECRET}\t"}}),
    ]  # fmt: skip
    return places


async def test_no_refusal_echoes_a_secret(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """Not even from a path, where a secret never belongs: every proxy logs it."""
    caplog.set_level(logging.DEBUG, "app")
    for method, path, given in requests_with_secrets():
        answer = await client.request(method, path, **given)  # type: ignore[arg-type] # each is what httpx takes
        assert answer.status_code >= 400, (method, path)
        told = answer.text + str(answer.headers)
        logged = caplog.text
        for secret in (SECRET, BASIC, LIVEKIT_SECRET, AUTHORIZED["Authorization"]):
            assert secret not in told, (method, path)
            assert secret not in logged, (method, path)
        assert "Traceback" not in told + logged

"""What every answer has in common: problem documents, request ids, the log, and the browser's CORS."""

import logging
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from app.core.settings import Settings
from app.main import create_app
from tests.conftest import AUTHORIZED, client_of, make_settings

RATE_LIMITS = {"RateLimit", "RateLimit-Policy"}
ANY_ID = uuid.UUID(int=1)
PAGE = "https://hire.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, x-request-id, idempotency-key",
}


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert problem["requestId"] == answer.headers["X-Request-Id"]


async def test_every_error_is_a_problem(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/interviews"), 401, "unauthorized")
    assert_problem(await client.get(f"/interviews/{ANY_ID}", headers=AUTHORIZED), 404, "interview_not_found")
    assert_problem(await client.post(f"/interviews/{ANY_ID}/join"), 404, "interview_not_found")
    assert_problem(await client.post("/interviews", headers=AUTHORIZED, json={}), 422, "payload_invalid")
    assert_problem(await client.post("/interviews", headers=AUTHORIZED, content=b"{"), 422, "payload_invalid")
    assert_problem(await client.get("/interviews?cursor=x", headers=AUTHORIZED), 422, "cursor_invalid")
    assert_problem(await client.get("/interviews?limit=0", headers=AUTHORIZED), 422, "payload_invalid")
    assert_problem(await client.post("/webhooks/livekit"), 401, "webhook_not_signed")
    assert_problem(await client.post("/webhooks/livekit", content=b"x" * 2_100_000), 413, "body_too_large")
    assert_problem(await client.get("/nowhere"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", f"/interviews/{ANY_ID}", {"GET", "PATCH"}),
        ("GET", f"/interviews/{ANY_ID}/join", {"POST"}),
        ("PUT", "/health/live", {"GET"}),
        ("GET", "/webhooks/livekit", {"POST"}),
    ],
)
async def test_another_method(client: httpx.AsyncClient, method: str, path: str, allowed: set[str]) -> None:
    answer = await client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} - {"HEAD"} == allowed


@pytest.mark.parametrize("given", ["abc", "0b7c7c2f-5d1e-4c7b", "A.b_c-9", "x" * 64])
async def test_a_plain_request_id_is_kept(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/nowhere", headers={"X-Request-Id": given})
    assert answer.headers.get_list("X-Request-Id") == [given]
    assert answer.json()["requestId"] == given


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 65, "a\nb", "<script>", "é", "a;b", "a\x00"])
async def test_an_odd_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    headers = {b"X-Request-Id": given.encode("latin-1")}
    first = await client.get("/health/live", headers=headers)
    second = await client.get("/health/live", headers=headers)
    ids = [first.headers["X-Request-Id"], second.headers["X-Request-Id"]]
    assert all(len(each) == 16 and each.isalnum() for each in ids)
    assert ids[0] != ids[1]


@pytest.fixture
def failing_app(app: FastAPI) -> FastAPI:
    async def fail() -> None:
        raise RuntimeError("the phone number is 966509876543")

    async def begin_and_fail() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError("too late")

        return StreamingResponse(chunks())

    app.add_api_route("/fail", fail)
    app.add_api_route("/begin-and-fail", begin_and_fail)
    return app


async def test_an_unexpected_error(failing_app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with client_of(failing_app) as client:
        answer = await client.get("/fail", headers={"X-Request-Id": "the-one"})
    assert_problem(answer, 500, "internal_error")
    assert answer.json()["requestId"] == "the-one"
    for told in ("966509876543", "RuntimeError", "Traceback", "fail()"):
        assert told not in answer.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert isinstance(errors[0].exc_info[1], RuntimeError)
    (access,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("GET ")]
    assert access.startswith("GET /... 500 ")  # it is none of ours


async def test_an_answer_that_breaks_off_is_raised_to_the_server(
    failing_app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(failing_app) as client:
        with pytest.raises(RuntimeError, match="too late"):
            await client.get("/begin-and-fail")
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["unexpected error"]


async def test_the_access_log(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.api.middleware")
    await client.get("/interviews", params={"cursor": "secret"}, headers=AUTHORIZED)
    await client.get("/no%0Awhere%1b[31m")
    lines = [record.getMessage() for record in caplog.records if record.name == "app.api.middleware"]
    assert lines[0].startswith("GET /interviews 422 ")
    assert lines[0].endswith(" ms")
    assert lines[1].startswith("GET /... 404 ")
    assert "secret" not in "".join(lines)
    assert AUTHORIZED["Authorization"] not in caplog.text


def production(**changed: object) -> Settings:
    given = {"allowed_origins": PAGE, "database_url": "postgresql://u@h/d", "bootstrap_api_key": "ik_" + "x" * 32}
    return make_settings(environment="production", **given | changed)


async def allowed(app: FastAPI, origin: str) -> str | None:
    """Return the origin that a preflight and a call are told is allowed."""
    async with client_of(app) as client:
        call = await client.get("/health/live", headers={"Origin": origin})
        preflight = await client.options("/interviews", headers={"Origin": origin, **PREFLIGHT})
    names = [answer.headers.get("Access-Control-Allow-Origin") for answer in (call, preflight)]
    assert names[0] == names[1]
    assert (preflight.status_code == 200) == (names[1] is not None)
    found: str | None = names[0]
    return found


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "https://localhost", "http://127.0.0.1:3000", "http://[::1]:8080"]
)
async def test_on_a_laptop_every_loopback_origin_may_call(app: FastAPI, origin: str) -> None:
    assert await allowed(app, origin) == origin
    assert await allowed(create_app(production(), app.state.services.sessions), origin) is None


@pytest.mark.parametrize(
    "origin",
    [PAGE, "http://localhost.evil.example", "http://evil.example/localhost", "null", "http://127.0.0.1.nip.io"],
)
async def test_on_a_laptop_no_other_origin_may(app: FastAPI, origin: str) -> None:
    assert await allowed(app, origin) is None


async def test_elsewhere_the_configured_origins_may(app: FastAPI) -> None:
    configured = production(allowed_origins=f"{PAGE}/, https://other.example:8443")
    elsewhere = create_app(configured, app.state.services.sessions)
    assert await allowed(elsewhere, PAGE) == PAGE
    assert await allowed(elsewhere, "https://other.example:8443") == "https://other.example:8443"
    for other in ("http://hire.example", "https://hire.example:444", "https://a.hire.example", "https://other.example"):
        assert await allowed(elsewhere, other) is None


async def test_what_a_page_may_send_and_read(client: httpx.AsyncClient) -> None:
    origin = {"Origin": "http://localhost:5173"}
    preflight = await client.options("/interviews", headers={**origin, **PREFLIGHT})
    assert preflight.status_code == 200
    assert {"GET", "POST", "PATCH", "DELETE"} <= set(
        preflight.headers["Access-Control-Allow-Methods"].replace(" ", "").split(",")
    )
    sendable = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert all(name.strip() in sendable for name in PREFLIGHT["Access-Control-Request-Headers"].split(","))
    refused = await client.get("/interviews", headers=origin)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    readable = {name.strip() for name in refused.headers["Access-Control-Expose-Headers"].split(",")}
    assert readable == {"X-Request-Id", "Retry-After", "ETag", "Location", "Idempotent-Replayed", *RATE_LIMITS}


async def test_a_page_can_read_an_unexpected_error(failing_app: FastAPI) -> None:
    """Without the CORS header a browser hides even the status, and the page can't name the requestId."""
    async with client_of(failing_app) as client:
        answer = await client.get("/fail", headers={"Origin": "http://localhost:5173"})
    assert answer.status_code == 500
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"

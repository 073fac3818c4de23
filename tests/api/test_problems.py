"""What all responses share: problem documents, request ids, the access log and CORS."""

import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from app.core.logging import LineFormatter
from app.core.settings import Settings
from app.main import create_app
from tests.attacks.document import ENDLESS, Json, Operation, operations
from tests.calls import NEW
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


async def test_an_unknown_interview_has_a_text_for_candidates_and_one_for_callers_with_a_key(
    client: httpx.AsyncClient,
) -> None:
    for call in ("join", "token"):
        for interview_id in (ANY_ID, "no-id"):
            answer = await client.post(f"/interviews/{interview_id}/{call}")
            assert answer.json()["detail"] == "No interview has this id. Check the link."
    answer = await client.get(f"/interviews/{ANY_ID}", headers=AUTHORIZED)
    assert "API key" in answer.json()["detail"]


DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]
BAD_VALUES: list[Any] = [
    None, True, 1, -1, 1.5, 10**9, 10**400, "", "x", "x" * 30_000, "1" * 41, "1234567€", "a b", "\ud800", "\0", "A,B",
    "2026-11-22", "2026-11-22T09:00:00", "2026-11-22Tx", "1950-01-01T00:00:00Z", "http://", "ftp://a.example",
    "https://a.example/" + "x" * 2000, [], ["x"], ["x"] * 30, [{}] * 1001, {}, {"a": 1}, DEEP,
]  # fmt: skip
# What a keyword of a schema refuses is explained by this message.
KEYWORDS = {
    "minimum": "must be {} or more",
    "maximum": "must be {} or less",
    "exclusiveMinimum": "must be more than {}",
    "maxLength": "must have {} characters or fewer",
    "maxItems": "must have {} entries or fewer",
}
TYPES = {
    "string": "must be a string",
    "integer": "must be an integer",
    "boolean": "must be true or false",
    "array": "must be a list",
    "object": "must be a JSON object",
}
QUERIES = [each for each in operations() if each.parameters("query") and str(each) not in ENDLESS]
PATTERNS = {
    r"^[\x21-\x7e]{1,128}$": "must be 1 to 128 printable ASCII characters without spaces",
    r"^[\d +().\-/]{5,40}$": "must be 5 to 40 digits, spaces and the characters + ( ) . - /",
}
FORMATS = {
    "date-time": "must say its time zone, as in 2026-01-31T09:00:00Z",
    "uri": "must be a URL, such as https://hiring.example.com/webhooks",
}


def explained(operation: Operation, schema: Json, *, is_text: bool = False) -> Iterator[str]:
    """Yield the messages that explain what a value's schema refuses; the parts of an object have their own."""
    schema = operation.schema(schema)
    kinds = [operation.schema(each) for each in schema.get("anyOf", [schema])]
    if "number" in [kind.get("type") for kind in kinds]:  # any number is one of the digits that a string may have
        kinds = [kind for kind in kinds if kind.get("type") != "number"]
    for kind in kinds:
        type_ = kind.get("type")
        if "enum" in kind or "const" in kind:
            allowed = kind.get("enum") or [kind["const"]]
            listed = " or ".join(filter(None, (", ".join(f"'{each}'" for each in allowed[:-1]), f"'{allowed[-1]}'")))
            yield f"must be {listed}"
        elif type_ in TYPES and "format" not in kind and not (is_text and type_ in ("string", "array")):
            yield TYPES[type_]
        for keyword, message in KEYWORDS.items():
            if keyword in kind:
                yield message.format(kind[keyword])
        if 1 in (kind.get("minItems"), "format" not in kind and kind.get("minLength")):
            yield "must not be empty"
        if "pattern" in kind:
            yield PATTERNS[kind["pattern"]]
        if "format" in kind:
            yield FORMATS[kind["format"]]


def assert_plain(errors: list[dict[str, str]]) -> None:
    """No message is pydantic's, nor the one for what was never thought of."""
    for error in errors:
        assert re.match(r"must |is required|is not a field of this call|has \d+ faults", error["message"]), error
        assert not re.search(r"\b(input|should|permitted|valid|regular expression|pattern)\b", error["message"], re.I)


@pytest.mark.parametrize("operation", [each for each in operations() if each.body is not None], ids=str)
async def test_every_rule_of_a_body_is_explained(client: httpx.AsyncClient, operation: Operation) -> None:
    schema = operation.schema(operation.body_schema)
    path = operation.path.format_map(dict.fromkeys(operation.ids, ANY_ID))
    messages: dict[str, set[str]] = {name: set() for name in schema["properties"]}

    async def send(body: Any) -> None:
        content = json.dumps(body)
        answer = await client.request(operation.method, path, headers=AUTHORIZED, content=content)
        errors = answer.json().get("errors", [])
        assert_plain(errors)
        for error in errors:
            messages.setdefault(error["field"], set()).add(error["message"].partition(";")[0])

    for value in BAD_VALUES:
        await send(dict.fromkeys(schema["properties"], value))
    await send({})
    await send([])
    assert messages["body"] == {"must be a JSON object"}
    for name, property_ in schema["properties"].items():
        if name in schema.get("required", []):
            assert "is required" in messages[name]
        for message in explained(operation, property_):
            assert message in messages[name], name


@pytest.mark.parametrize("operation", QUERIES, ids=str)
async def test_every_rule_of_a_query_is_explained(client: httpx.AsyncClient, operation: Operation) -> None:
    path = operation.path.format_map(dict.fromkeys(operation.ids, ANY_ID))
    messages: dict[str, set[str]] = {parameter["name"]: set() for parameter in operation.parameters("query")}
    for value in (each for each in BAD_VALUES if isinstance(each, str | int | float) and each != "\ud800"):
        answer = await client.request(
            operation.method, path, headers=AUTHORIZED, params=dict.fromkeys(messages, str(value)[:1000])
        )
        errors = answer.json().get("errors", [])
        assert_plain(errors)
        for error in errors:
            messages[error["field"].partition(".")[0]].add(error["message"].partition(";")[0])
    for parameter in operation.parameters("query"):
        schema = operation.schema(parameter["schema"])
        schema = operation.schema(schema.get("items", schema))
        for message in explained(operation, schema, is_text=True):
            assert message in messages[parameter["name"]], parameter["name"]


def errors_of(answer: httpx.Response) -> dict[str, str]:
    assert_problem(answer, 422, "payload_invalid")
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("participant_name", "participantName"),
        ("ParticipantName", "participantName"),
        ("partcipantName", "participantName"),
        ("phone", "phoneNumber"),
        ("maxduration", "maxDuration"),
    ],
)
async def test_an_unknown_field_gets_the_one_that_was_meant(client: httpx.AsyncClient, sent: str, meant: str) -> None:
    message = f'is not a field of this call; did you mean "{meant}"?'
    one = await client.post("/interviews", headers=AUTHORIZED, json=NEW | {sent: "x"})
    assert errors_of(one) == {sent: message}
    batch = {"interviews": [NEW, NEW | {sent: "x"}]}
    many = await client.post("/interviews/batch", headers=AUTHORIZED, json=batch)
    assert errors_of(many) == {f"interviews.1.{sent}": message}


async def test_an_unknown_field_like_no_other_is_to_be_left_out(client: httpx.AsyncClient) -> None:
    answer = await client.post("/interviews", headers=AUTHORIZED, json=NEW | {"salary": 1})
    assert errors_of(answer) == {"salary": "is not a field of this call: leave it out"}


async def test_an_unknown_parameter_gets_the_one_that_was_meant(client: httpx.AsyncClient) -> None:
    answer = await client.get("/interviews?updated_since=x", headers=AUTHORIZED)
    assert errors_of(answer) == {"updated_since": 'is not a field of this call; did you mean "updatedSince"?'}


async def test_thousands_of_unknown_fields_are_not_all_compared(client: httpx.AsyncClient) -> None:
    body = NEW | {f"phoneNumbe{number}": 1 for number in range(5_000)}
    errors = errors_of(await client.post("/interviews/batch", headers=AUTHORIZED, json=body))
    assert len(errors) == 5_001 + len(NEW)
    assert sum("did you mean" in message for message in errors.values()) <= 20


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("COMPLETED,FAILED", "?status=COMPLETED&status=FAILED"),
        ("FAILED,966509876543", "?status=FAILED&status=SCHEDULED"),
    ],
)
async def test_commas_between_values_show_how_a_parameter_is_repeated(
    client: httpx.AsyncClient, sent: str, shown: str
) -> None:
    answer = await client.get("/interviews", headers=AUTHORIZED, params={"status": sent})
    (message,) = errors_of(answer).values()
    assert message.endswith(f"; repeat the parameter for several values: {shown}")
    assert "966509876543" not in answer.text


async def test_json_nested_too_deeply_names_its_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/interviews", headers=AUTHORIZED, json=NEW | {"context": DEEP})
    assert errors_of(answer) == {"context": "must not be nested so deeply"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", f"/interviews/{ANY_ID}", {"GET", "PATCH"}),
        ("GET", f"/interviews/{ANY_ID}/join", {"POST"}),
        ("PUT", "/health/live", {"GET"}),
        ("GET", "/webhooks/livekit", {"POST"}),
    ],
)
async def test_a_method_that_is_not_allowed(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = await client.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} - {"HEAD"} == allowed


@pytest.mark.parametrize(
    "given",
    [
        "abc", "0b7c7c2f-5d1e-4c7b", "A.b_c-9", "x" * 64, "order-123456", "invoice_7", "kiosk-2026-11",
        "12345678-1234-4234-8234-1234567890ab", "1234567890ABCDEF", "0af7651916cd43dd8448eb211c80319c",
    ],
)  # fmt: skip
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


@pytest.mark.parametrize(
    "given",
    [
        "inv_0f9c1d2e3b4a59687786a5b4c3d2e1f001122334", "x-inv_0f9c", "ik_local", "IK_0123", "call.ik_test_0000",
        "whsec_AAAA", "eyJhbGciOiJIUzI1NiJ9", "966509876543", "00966509876543", "0509876543", "050-987-6543",
        "050.987.6543", "50_98_76_5", "call-966-50-987-6543", "phone966509876543", "1234567", "1234567890123456",
        "00000000-0000-0000-0000-966509876543", "966509876543abcd", "966509876543000000000000000000ab",
    ],
)  # fmt: skip
async def test_a_request_id_that_must_not_be_logged_is_replaced(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The answer has the id that the log has."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(caplog.handler, "formatter", LineFormatter())
    answer = await client.get("/nowhere", headers={"X-Request-Id": given})
    used = answer.headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{16}", used)
    assert used == answer.json()["requestId"]
    assert f" app.api.middleware [{used}] GET" in caplog.text
    assert given not in answer.text + caplog.text


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
    for hidden in ("966509876543", "RuntimeError", "Traceback", "fail()"):
        assert hidden not in answer.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert isinstance(errors[0].exc_info[1], RuntimeError)
    (access,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("GET ")]
    assert access.startswith("GET /... 500 ")  # /fail is not a path of the app


async def test_an_error_after_the_response_began_is_raised_to_the_server(
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
    """Return the origin that a preflight and a call allow."""
    async with client_of(app) as client:
        call = await client.get("/health/live", headers={"Origin": origin})
        preflight = await client.options("/interviews", headers={"Origin": origin, **PREFLIGHT})
    names = [answer.headers.get("Access-Control-Allow-Origin") for answer in (call, preflight)]
    assert names[0] == names[1]
    assert (preflight.status_code == 200) == (names[1] is not None)
    origin_allowed: str | None = names[0]
    return origin_allowed


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


async def test_a_page_of_an_allowed_origin_may_call_a_private_network(client: httpx.AsyncClient) -> None:
    asks = {**PREFLIGHT, "Access-Control-Request-Private-Network": "true"}
    allowed = await client.options("/interviews", headers={"Origin": "http://localhost:5173", **asks})
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Private-Network"] == "true"
    refused = await client.options("/interviews", headers={"Origin": "https://evil.example", **asks})
    assert refused.status_code == 400
    assert "Access-Control-Allow-Origin" not in refused.headers


async def test_a_page_can_read_an_unexpected_error(failing_app: FastAPI) -> None:
    """Without the CORS header a browser hides even the status, and the page can't name the requestId."""
    async with client_of(failing_app) as client:
        answer = await client.get("/fail", headers={"Origin": "http://localhost:5173"})
    assert answer.status_code == 500
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"

"""Webhook endpoints over HTTP: who may read and change them, and when secrets are shown."""

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from standardwebhooks import Webhook

from app.auth.api_keys import Scope, hash_key
from app.core.database import create_sessionmaker
from app.interviews.schedule import ensure_default_organization
from app.main import create_app
from app.models import ApiKey, Organization
from app.webhooks import endpoints
from tests.conftest import AUTHORIZED, client_of, make_settings
from tests.interview_driver import RealTime
from tests.webhooks.webhook_driver import WebhookDriver

OTHER = {"Authorization": "Bearer ik_other_organization"}
READER = {"Authorization": "Bearer ik_reader"}
URL = "https://hiring.example.com/webhooks"
SPAN = {"from": "2026-11-22T09:00:00Z", "to": "2026-11-22T10:00:00Z"}


@pytest.fixture
async def webhook_driver(
    app: FastAPI, client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> WebhookDriver:
    """On the shared database, as nothing is delivered; with another organization, and a read-only key."""
    async with sessions.begin() as session:
        own = await ensure_default_organization(session)
        other = Organization(name="other", company_name="o", instructions_template="i", max_duration=60)
        session.add(other)
        await session.flush()
        session.add(key("ik_other_organization", list(Scope), other.id))
        session.add(key("ik_reader", [Scope.READ], own))
    return WebhookDriver(RealTime(app, client), client, sessions)


def key(secret: str, scopes: list[Scope], organization_id: uuid.UUID) -> ApiKey:
    names = [each.value for each in scopes]
    return ApiKey(organization_id=organization_id, name=secret, key_hash=hash_key(secret), scopes=names)


async def test_the_secret_is_shown_only_on_creation_and_rotation(webhook_driver: WebhookDriver) -> None:
    made = await webhook_driver.client.post(
        "/webhook-endpoints", headers=AUTHORIZED, json={"url": URL, "description": "ATS"}
    )
    endpoint = made.json()
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert made.headers["location"] == f"/webhook-endpoints/{endpoint['endpointId']}"
    Webhook(endpoint["secret"])
    shown = await webhook_driver.again(endpoint)
    assert shown == {name: value for name, value in endpoint.items() if name != "secret"}
    rotated = await webhook_driver.call("POST", f"/{endpoint['endpointId']}/rotate-secret")
    assert rotated["secret"] != endpoint["secret"]
    until = datetime.fromisoformat(rotated["previousSecretUntil"]) - datetime.now(UTC)
    assert timedelta(hours=23) < until <= timedelta(hours=24)
    await webhook_driver.call("POST", f"/{endpoint['endpointId']}/test", 202)
    for path in ("", f"/{endpoint['endpointId']}", f"/{endpoint['endpointId']}/deliveries"):
        assert "whsec_" not in str(await webhook_driver.call("GET", path))
    changed = await webhook_driver.call("PATCH", f"/{endpoint['endpointId']}", json={"description": "x"})
    assert "whsec_" not in str(changed)


async def test_secrets_are_in_no_log_and_on_no_timeline(
    webhook_driver: WebhookDriver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    endpoint = await webhook_driver.endpoint(URL)
    made = await webhook_driver.driver.new()
    timeline = await webhook_driver.client.get(f"/interviews/{made['interviewId']}/timeline", headers=AUTHORIZED)
    assert endpoint["secret"] not in timeline.text + caplog.text


async def test_omitted_fields_stay(webhook_driver: WebhookDriver) -> None:
    endpoint = await webhook_driver.endpoint(URL, description="ATS", eventTypes=["interview.amended"])
    path = f"/{endpoint['endpointId']}"
    changed = await webhook_driver.call("PATCH", path, json={"url": "https://b.example/"})
    assert (changed["url"], changed["description"]) == ("https://b.example/", "ATS")
    assert changed["eventTypes"] == ["interview.amended"]
    changed = await webhook_driver.call("PATCH", path, json={"eventTypes": [], "description": ""})
    assert (changed["eventTypes"], changed["description"]) == ([], "")
    disabled = await webhook_driver.call("PATCH", path, json={"enabled": False})
    assert (disabled["enabled"], disabled["disabledReason"]) == (False, "MANUAL")
    assert (await webhook_driver.call("PATCH", path, json={}))["enabled"] is False
    assert (await webhook_driver.call("PATCH", path, json={"enabled": True}))["disabledReason"] is None


async def test_pages_hold_each_endpoint_once_newest_first(webhook_driver: WebhookDriver) -> None:
    made = [(await webhook_driver.endpoint(f"{URL}/{number}"))["endpointId"] for number in range(5)]
    seen, cursor = [], None
    while True:
        page = await webhook_driver.call("GET", "", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        seen += [each["endpointId"] for each in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_pages_of_the_delivery_log(webhook_driver: WebhookDriver) -> None:
    endpoint = await webhook_driver.endpoint(URL)
    for _ in range(5):
        await webhook_driver.call("POST", f"/{endpoint['endpointId']}/test", 202)
    seen, cursor = [], None
    while True:
        query = {"limit": 2, "state": "PENDING"} | ({"cursor": cursor} if cursor else {})
        page = await webhook_driver.call("GET", f"/{endpoint['endpointId']}/deliveries", params=query)
        seen += [each["deliveryId"] for each in page["data"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert await webhook_driver.log(endpoint, state="FAILED") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", None),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
        ("POST", "/replay", SPAN),
        ("GET", "/deliveries", None),
        ("POST", "/deliveries/{delivery}/replay", None),
    ],
)
async def test_another_organizations_endpoint_is_not_found(
    webhook_driver: WebhookDriver, method: str, path: str, body: dict[str, Any] | None
) -> None:
    endpoint = await webhook_driver.endpoint(URL)
    delivery = await webhook_driver.call("POST", f"/{endpoint['endpointId']}/test", 202)
    path = path.replace("{delivery}", delivery["deliveryId"])
    for found, headers in ((endpoint["endpointId"], OTHER), (uuid.uuid4(), AUTHORIZED), ("none", AUTHORIZED)):
        refused = await webhook_driver.call(method, f"/{found}{path}", 404, json=body, headers=headers)
        assert refused["code"] == "webhook_endpoint_not_found"
    assert await webhook_driver.call("GET", "", headers=OTHER) == {"data": [], "nextCursor": None}


async def test_a_delivery_belongs_to_its_endpoint(webhook_driver: WebhookDriver) -> None:
    endpoint, other = await webhook_driver.endpoint(URL), await webhook_driver.endpoint(URL)
    delivery = await webhook_driver.call("POST", f"/{other['endpointId']}/test", 202)
    for found in (delivery["deliveryId"], uuid.uuid4(), "none"):
        path = f"/{endpoint['endpointId']}/deliveries/{found}/replay"
        assert (await webhook_driver.call("POST", path, 404))["code"] == "delivery_not_found"


async def test_reading_needs_only_the_read_scope(webhook_driver: WebhookDriver) -> None:
    endpoint = await webhook_driver.endpoint(URL)
    path = f"/{endpoint['endpointId']}"
    await webhook_driver.call("GET", path, headers=READER)
    await webhook_driver.call("GET", f"{path}/deliveries", headers=READER)
    await webhook_driver.call("POST", "", 403, json={"url": URL}, headers=READER)
    await webhook_driver.call("PATCH", path, 403, json={}, headers=READER)
    await webhook_driver.call("DELETE", path, 403, headers=READER)
    for name in ("rotate-secret", "test", "replay"):
        await webhook_driver.call("POST", f"{path}/{name}", 403, json=SPAN, headers=READER)


async def test_a_deleted_endpoint_is_gone(webhook_driver: WebhookDriver) -> None:
    endpoint = await webhook_driver.endpoint(URL)
    await webhook_driver.call("DELETE", f"/{endpoint['endpointId']}", 204)
    await webhook_driver.call("GET", f"/{endpoint['endpointId']}", 404)
    assert (await webhook_driver.call("GET", ""))["data"] == []
    await webhook_driver.driver.new()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": ""},
        {"url": "hiring.example.com"},
        {"url": "ftp://hiring.example.com"},
        {"url": "https://a.example/" + "x" * 2000},
        {"url": URL, "eventTypes": ["interview.unheard_of"]},
        {"url": URL, "eventTypes": "interview.scheduled"},
        {"url": URL, "description": "\0"},
        {"url": URL, "secret": "whsec_mine"},
    ],
)
async def test_invalid_endpoints_are_refused(webhook_driver: WebhookDriver, body: dict[str, Any]) -> None:
    assert (await webhook_driver.call("POST", "", 422, json=body))["code"] == "payload_invalid"


@pytest.mark.parametrize("body", [{"url": None}, {"enabled": None}, {"enabled": "yes"}, {"eventTypes": None}, {"x": 1}])
async def test_invalid_updates_are_refused(webhook_driver: WebhookDriver, body: dict[str, Any]) -> None:
    endpoint = await webhook_driver.endpoint(URL)
    assert (await webhook_driver.call("PATCH", f"/{endpoint['endpointId']}", 422, json=body))[
        "code"
    ] == "payload_invalid"


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z"),
        ("2026-10-01T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("2026-11-22T09:00:00", "2026-11-22T10:00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
    ],
)
async def test_invalid_spans_are_refused(webhook_driver: WebhookDriver, since: str, until: str) -> None:
    endpoint = await webhook_driver.endpoint(URL)
    body = {"from": since, "to": until}
    refused = await webhook_driver.call("POST", f"/{endpoint['endpointId']}/replay", 422, json=body)
    assert refused["code"] == "payload_invalid"


async def test_the_number_of_endpoints_is_limited(
    webhook_driver: WebhookDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 2)
    await webhook_driver.endpoint(URL)
    endpoint = await webhook_driver.endpoint(URL)
    assert (await webhook_driver.call("POST", "", 409, json={"url": URL}))["code"] == "too_many_webhook_endpoints"
    await webhook_driver.call("DELETE", f"/{endpoint['endpointId']}", 204)
    await webhook_driver.endpoint(URL)


async def test_calls_at_the_same_time_make_no_more_endpoints_than_one_after_the_other(own_engine: AsyncEngine) -> None:
    async with client_of(create_app(make_settings(), create_sessionmaker(own_engine))) as client:

        async def create() -> int:
            body = {"url": "https://8.8.8.8/"}
            return (await client.post("/webhook-endpoints", headers=AUTHORIZED, json=body)).status_code

        answers = Counter(await asyncio.gather(*(create() for _ in range(endpoints.MAX_ENDPOINTS + 25))))
    assert answers == {201: endpoints.MAX_ENDPOINTS, 409: 25}


@pytest.mark.parametrize("port", ["99999", "65536", "x", "-1"])
async def test_a_port_that_does_not_exist_is_a_fault_of_the_field(client: httpx.AsyncClient, port: str) -> None:
    body = {"url": f"https://a.example:{port}/"}
    refused = await client.post("/webhook-endpoints", headers=AUTHORIZED, json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "url")


@pytest.mark.parametrize(
    "url",
    [
        "http://hiring.example.com/",
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "https://u:p@a.example/",
        "https://[::1]/",
        "https://a.example:0/",
    ],
)
async def test_private_targets_are_refused_unless_allowed(
    sessions: async_sessionmaker[AsyncSession], webhook_driver: WebhookDriver, url: str
) -> None:
    app = create_app(make_settings(webhook_allow_private=False), sessions)
    async with client_of(app) as client:
        strict = WebhookDriver(RealTime(app, client), client, sessions)
        refused = await strict.call("POST", "", 422, json={"url": url})
        assert refused["code"] == "webhook_target_refused"
        endpoint = await strict.endpoint("https://8.8.8.8/")
        refused = await strict.call("PATCH", f"/{endpoint['endpointId']}", 422, json={"url": url})
        assert refused["code"] == "webhook_target_refused"
        assert (await strict.again(endpoint))["url"] == "https://8.8.8.8/"


def test_private_targets_are_allowed_only_in_development_or_by_setting() -> None:
    production = {
        "environment": "production",
        "livekit_api_secret": "s" * 32,
        "bootstrap_api_key": "k" * 32,
        "livekit_url": "wss://livekit.example",
        "allowed_origins": ("https://jobs.example",),
        "database_url": "postgresql://db.example/interviews",
    }
    assert make_settings().webhooks_to_private
    assert not make_settings(webhook_allow_private=False).webhooks_to_private
    assert not make_settings(**production).webhooks_to_private
    assert make_settings(**production, webhook_allow_private=True).webhooks_to_private

"""Deliveries, from the change to the receiver: signed, sent once, and retried after failures."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from standardwebhooks import Webhook, WebhookVerificationError

from app.api import schedule
from app.models import Change, Delivery
from app.webhooks import deliveries, queue, retry_policy, sender
from app.webhooks.payload import new_secret
from app.webhooks.queue import LOST
from app.worker import webhook_delivery
from app.worker.webhook_delivery import prune_deliveries
from tests.conftest import AUTHORIZED
from tests.e2e.conditions import eventually
from tests.interview_driver import NEW
from tests.webhooks.receiver import OK, Received, Receiver, receiving, status
from tests.webhooks.webhook_driver import WebhookDriver


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten attempts without backoff."""
    monkeypatch.setattr(retry_policy, "BACKOFF", (timedelta(),) * len(retry_policy.BACKOFF))


async def test_an_interviews_changes_arrive_signed(webhook_driver: WebhookDriver, receiver: Receiver) -> None:
    endpoint = await webhook_driver.endpoint(receiver.url)
    async with webhook_driver.delivering():
        made = await webhook_driver.driver.new()
        await webhook_driver.driver.talk(made)
        await webhook_driver.driver.call(made, "cancel")
        log = await webhook_driver.become(endpoint, *["DELIVERED"] * 4)
    seen = [Webhook(endpoint["secret"]).verify(each.body, each.headers) for each in receiver.received]
    events = sorted(seen, key=lambda each: each["data"]["sequence"])
    assert [(each["type"], each["data"]["previousStatus"], each["data"]["status"]) for each in events] == [
        ("interview.scheduled", None, "READY_TO_JOIN"),
        ("interview.status_changed", "READY_TO_JOIN", "WAITING_FOR_AGENT"),
        ("interview.status_changed", "WAITING_FOR_AGENT", "IN_PROGRESS"),
        ("interview.status_changed", "IN_PROGRESS", "CANCELLED"),
    ]
    assert {each["data"]["interviewId"] for each in events} == {made["interviewId"]}
    assert {each["webhookId"] for each in log} == {each.id for each in receiver.received}
    assert sorted(each["sequence"] for each in log) == [1, 2, 3, 4]
    for request in receiver.received:
        assert request.line == "POST /hooks HTTP/1.1"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("interviews-webhooks/")
        assert abs(int(request.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    for delivery in log:
        (attempt,) = delivery["attempts"]
        assert (attempt["statusCode"], attempt["error"], delivery["nextAttemptAt"]) == (200, None, None)


async def test_payloads_hold_no_personal_data(webhook_driver: WebhookDriver, receiver: Receiver) -> None:
    endpoint = await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new(participantName="Somebody")
    async with webhook_driver.delivering():
        await webhook_driver.become(endpoint, "DELIVERED")
    (request,) = receiver.received
    for private in (NEW["phoneNumber"], "Somebody", NEW["jobTitle"]):
        assert private.encode() not in request.body


async def test_for_a_day_after_a_rotation_both_secrets_verify(
    webhook_driver: WebhookDriver, receiver: Receiver
) -> None:
    endpoint = await webhook_driver.endpoint(receiver.url)
    rotated = await webhook_driver.call("POST", f"/{endpoint['endpointId']}/rotate-secret")
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():
        await webhook_driver.become(endpoint, "DELIVERED")
        await webhook_driver.execute("UPDATE webhook_endpoints SET previous_secret_until = now()")
        await webhook_driver.driver.new()
        await webhook_driver.become(endpoint, "DELIVERED", "DELIVERED")
    both, alone = receiver.received
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    for secret in (endpoint["secret"], rotated["secret"]):
        Webhook(secret).verify(both.body, both.headers)
    Webhook(rotated["secret"]).verify(alone.body, alone.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(alone.body, alone.headers)


async def test_only_subscribed_and_enabled_endpoints_get_a_delivery(webhook_driver: WebhookDriver) -> None:
    everything = await webhook_driver.endpoint("https://a.example/")
    statuses = await webhook_driver.endpoint("https://b.example/", eventTypes=["interview.status_changed"])
    disabled = await webhook_driver.endpoint("https://c.example/")
    await webhook_driver.call("PATCH", f"/{disabled['endpointId']}", json={"enabled": False})
    made = await webhook_driver.driver.new()
    await webhook_driver.driver.call(made, "cancel")
    assert [each["type"] for each in await webhook_driver.log(everything)] == [
        "interview.status_changed",
        "interview.scheduled",
    ]
    assert [each["type"] for each in await webhook_driver.log(statuses)] == ["interview.status_changed"]
    assert await webhook_driver.log(disabled) == []


async def test_a_rolled_back_change_is_not_delivered(
    webhook_driver: WebhookDriver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await webhook_driver.endpoint(receiver.url)

    async def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("after the change was written")

    monkeypatch.setattr(schedule, "with_etag_header", fails)
    answer = await webhook_driver.client.post("/interviews", headers=AUTHORIZED, json=NEW)
    assert answer.status_code == 503
    async with webhook_driver.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Change)) == 0
        assert await session.scalar(select(func.count()).select_from(Delivery)) == 0
    assert await webhook_driver.log(endpoint) == []


async def test_two_workers_send_each_delivery_once(webhook_driver: WebhookDriver, receiver: Receiver) -> None:
    endpoint = await webhook_driver.endpoint(receiver.url)
    for _ in range(40):
        await webhook_driver.driver.new()
    async with webhook_driver.delivering(workers=2):
        await webhook_driver.become(endpoint, *["DELIVERED"] * 40)
    assert len({each.id for each in receiver.received}) == len(receiver.received) == 40
    assert receiver.connections < 40  # they are kept


@pytest.mark.usefixtures("quick")
async def test_a_retry_differs_only_in_the_timestamp(webhook_driver: WebhookDriver, receiver: Receiver) -> None:
    receiver.answers = [status(500), status(302, Location=receiver.url), status(404), OK]
    endpoint = await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():
        (delivery,) = await webhook_driver.become(endpoint, "DELIVERED")
    assert [each["statusCode"] for each in delivery["attempts"]] == [500, 302, 404, 200]
    assert "Redirects are not followed" in delivery["attempts"][1]["error"]
    assert len(receiver.received) == 4
    assert len({each.id for each in receiver.received}) == len({each.body for each in receiver.received}) == 1
    for each in receiver.received:
        Webhook(endpoint["secret"]).verify(each.body, each.headers)
    assert (await webhook_driver.again(endpoint))["failingSince"] is None


@pytest.mark.usefixtures("quick")
async def test_after_ten_attempts_it_fails_and_a_replay_starts_over(
    webhook_driver: WebhookDriver, receiver: Receiver
) -> None:
    receiver.answer = status(500)
    endpoint = await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():
        (delivery,) = await webhook_driver.become(endpoint, "FAILED")
        assert len(delivery["attempts"]) == 10
        assert delivery["nextAttemptAt"] is None
        assert (await webhook_driver.again(endpoint))["failingSince"]
        receiver.answer = OK
        path = f"/{endpoint['endpointId']}/deliveries/{delivery['deliveryId']}/replay"
        assert (await webhook_driver.call("POST", path, 202))["webhookId"] == delivery["webhookId"]
        (delivery,) = await webhook_driver.become(endpoint, "DELIVERED")
    assert len(delivery["attempts"]) == 11
    assert len({each.id for each in receiver.received}) == 1
    assert (await webhook_driver.again(endpoint))["failingSince"] is None


async def test_410_disables_at_once_and_pending_deliveries_wait(
    webhook_driver: WebhookDriver, receiver: Receiver
) -> None:
    receiver.answer = status(410)
    endpoint = await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():
        await eventually(lambda: _is_disabled(webhook_driver, endpoint))
        shown = await webhook_driver.again(endpoint)
        assert (shown["enabled"], shown["disabledReason"]) == (False, "GONE")
        await webhook_driver.driver.new()
        receiver.answer = OK
        await webhook_driver.execute("UPDATE deliveries SET next_attempt_at = now()")
        refused = await webhook_driver.client.post(
            f"/webhook-endpoints/{endpoint['endpointId']}/test", headers=AUTHORIZED
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_disabled")
        assert refused.json()["disabledReason"] == "GONE"
        assert await webhook_driver.states(endpoint) == ["PENDING"]
        shown = await webhook_driver.call("PATCH", f"/{endpoint['endpointId']}", json={"enabled": True})
        assert (shown["enabled"], shown["disabledReason"], shown["failingSince"]) == (True, None, None)
        await webhook_driver.become(endpoint, "DELIVERED")


async def _is_disabled(webhook_driver: WebhookDriver, endpoint: dict[str, Any]) -> bool:
    return not (await webhook_driver.again(endpoint))["enabled"]


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_postpones_this_delivery_and_the_others(
    webhook_driver: WebhookDriver, receiver: Receiver, code: int
) -> None:
    receiver.answers = [status(code, **{"Retry-After": "600"})]
    endpoint = await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():

        async def is_put_off() -> bool:  # while it is under way it is due again at the end of its lease
            (delivery,) = await webhook_driver.log(endpoint)
            due_in = datetime.fromisoformat(delivery["nextAttemptAt"]) - datetime.now(UTC)
            return timedelta(seconds=540) < due_in <= timedelta(seconds=600)

        await eventually(is_put_off)
        await webhook_driver.driver.new()
        async with receiving() as other:
            await webhook_driver.endpoint(other.url)
            await webhook_driver.driver.new()
            await eventually(lambda: other.received)
        assert len(receiver.received) == 1
        await webhook_driver.execute("UPDATE webhook_endpoints SET paused_until = now()")
        await eventually(lambda: len(receiver.received) == 3)


@pytest.mark.usefixtures("quick")
async def test_long_failure_disables_and_is_logged(
    webhook_driver: WebhookDriver, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = status(500)
    endpoint = await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():
        await webhook_driver.become(endpoint, "FAILED")
        assert (await webhook_driver.again(endpoint))["enabled"]
        await webhook_driver.execute("UPDATE webhook_endpoints SET failing_since = now() - interval '5 days'")
        await webhook_driver.driver.new()
        await eventually(lambda: _is_disabled(webhook_driver, endpoint))
    assert (await webhook_driver.again(endpoint))["disabledReason"] == "FAILING"
    (line,) = [each for each in caplog.messages if "disabled" in each]
    assert endpoint["endpointId"] in line
    assert "FAILING" in line
    assert receiver.url not in caplog.text
    assert endpoint["secret"] not in caplog.text


async def test_hanging_receivers_do_not_block_others(
    webhook_driver: WebhookDriver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_delivery, "SHUTDOWN_TIMEOUT", 0.1)
    monkeypatch.setattr(sender, "TIMEOUT", 3600)  # none of those that hang is given up, however long this takes
    monkeypatch.setattr(queue, "LEASE", timedelta(hours=2))
    async with receiving() as hanging:
        hanging.before = _hang
        for _ in range(3):
            await webhook_driver.endpoint(hanging.url)
        for _ in range(30):
            await webhook_driver.driver.new()
        healthy = await webhook_driver.endpoint(receiver.url)
        async with webhook_driver.delivering():
            await eventually(lambda: len(hanging.received) >= 3 * queue.ENDPOINT_CONCURRENCY)
            for _ in range(10):
                await webhook_driver.driver.new()
            await webhook_driver.become(healthy, *["DELIVERED"] * 10)
            assert len(hanging.received) == 3 * queue.ENDPOINT_CONCURRENCY


async def _hang(_: Received) -> None:
    await asyncio.Event().wait()


async def test_failing_endpoints_get_one_slot_each_and_half_of_all(
    webhook_driver: WebhookDriver, receiver: Receiver
) -> None:
    receiver.before = _hang
    for _ in range(queue.FAILING_CONCURRENCY + 4):
        await webhook_driver.endpoint(receiver.url)
    for _ in range(3):
        await webhook_driver.driver.new()
    await webhook_driver.execute("UPDATE webhook_endpoints SET failures = 1, failing_since = now()")
    async with webhook_driver.sessions.begin() as session:
        now = datetime.now(UTC)
        first = await queue.claim(session, under_way=[], concurrency=webhook_delivery.CONCURRENCY, now=now)
        assert len(first) == len({each.endpoint.id for each in first}) == queue.FAILING_CONCURRENCY
        assert await queue.claim(session, under_way=first, concurrency=webhook_delivery.CONCURRENCY, now=now) == []


@pytest.mark.usefixtures("quick")
async def test_a_hanging_receiver_times_out_and_is_retried(
    webhook_driver: WebhookDriver, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TIMEOUT", 0.5)
    endpoint = await webhook_driver.endpoint(receiver.url)

    async def hang_once(_: Received) -> None:
        if len(receiver.received) == 1:
            await asyncio.Event().wait()

    receiver.before = hang_once
    await webhook_driver.driver.new()
    async with webhook_driver.delivering():
        (delivery,) = await webhook_driver.become(endpoint, "DELIVERED")
    first, *_, last = delivery["attempts"]  # on a busy machine more than the first may be given up
    assert first["statusCode"] is None
    assert first["error"].startswith("No answer ")
    assert last["statusCode"] == 200


async def test_an_expired_lease_is_logged_and_its_late_finish_is_ignored(
    webhook_driver: WebhookDriver,
) -> None:
    endpoint = await webhook_driver.endpoint("https://a.example/")
    await webhook_driver.driver.new()
    now = datetime.now(UTC)
    later = now + queue.LEASE
    answer = retry_policy.DeliveryResponse(now, timedelta(seconds=1), 200)
    decision = retry_policy.decide_retry(answer, attempts=1, now=now, chance=0.5)
    async with webhook_driver.sessions.begin() as session:
        (first,) = await queue.claim(session, under_way=[], concurrency=1, now=now)
        assert await queue.claim(session, under_way=[], concurrency=1, now=now) == []
    async with webhook_driver.sessions.begin() as session:
        (second,) = await queue.claim(session, under_way=[], concurrency=1, now=later)
        assert second.delivery.attempts == 2
    async with webhook_driver.sessions.begin() as session:
        assert not await queue.finish(session, claimed=first, response=answer, decision=decision, now=later)
        assert await queue.finish(session, claimed=second, response=answer, decision=decision, now=later)
    (delivery,) = await webhook_driver.log(endpoint)
    assert [(each["statusCode"], each["error"]) for each in delivery["attempts"]] == [(None, LOST), (200, None)]


async def test_a_test_event(webhook_driver: WebhookDriver, receiver: Receiver) -> None:
    endpoint = await webhook_driver.endpoint(receiver.url, eventTypes=["interview.amended"])
    sent = await webhook_driver.call("POST", f"/{endpoint['endpointId']}/test", 202)
    assert (sent["type"], sent["state"], sent["interviewId"]) == ("webhook.test", "PENDING", None)
    async with webhook_driver.delivering():
        await webhook_driver.become(endpoint, "DELIVERED")
    (request,) = receiver.received
    event = Webhook(endpoint["secret"]).verify(request.body, request.headers)
    assert (event["type"], event["data"]) == ("webhook.test", {"endpointId": endpoint["endpointId"]})
    assert request.id == sent["webhookId"]


class TestReplayOfASpan:
    async def test_it_sends_changes_that_were_sent_and_those_that_were_not(
        self, webhook_driver: WebhookDriver, receiver: Receiver
    ) -> None:
        begin = datetime.now(UTC)
        await webhook_driver.driver.new()
        endpoint = await webhook_driver.endpoint(receiver.url, eventTypes=["interview.scheduled"])
        made = await webhook_driver.driver.new()
        await webhook_driver.driver.call(made, "cancel")
        async with webhook_driver.delivering():
            await webhook_driver.become(endpoint, "DELIVERED")
            span = {"from": begin.isoformat(), "to": datetime.now(UTC).isoformat()}
            assert await webhook_driver.call("POST", f"/{endpoint['endpointId']}/replay", 202, json=span) == {
                "enqueued": 2
            }
            await webhook_driver.become(endpoint, "DELIVERED", "DELIVERED")
            await webhook_driver.driver.new()
            await webhook_driver.become(endpoint, *["DELIVERED"] * 3)
        assert len(receiver.received) == 4
        assert len({each.id for each in receiver.received}) == 3

    async def test_pending_deliveries_are_not_enqueued_twice(self, webhook_driver: WebhookDriver) -> None:
        endpoint = await webhook_driver.endpoint("https://a.example/")
        begin = datetime.now(UTC)
        await webhook_driver.driver.new()
        span = {"from": begin.isoformat(), "to": datetime.now(UTC).isoformat()}
        assert await webhook_driver.call("POST", f"/{endpoint['endpointId']}/replay", 202, json=span) == {"enqueued": 0}
        assert await webhook_driver.states(endpoint) == ["PENDING"]

    async def test_another_organizations_changes_are_not_replayed(self, webhook_driver: WebhookDriver) -> None:
        endpoint = await webhook_driver.endpoint("https://a.example/")
        begin = datetime.now(UTC)
        await webhook_driver.driver.new()
        await webhook_driver.execute("DELETE FROM deliveries")
        await webhook_driver.execute(
            "WITH other AS (INSERT INTO organizations (name, company_name, instructions_template, max_duration) "
            "VALUES ('other', 'o', 'i', 60) RETURNING id) "
            "UPDATE changes SET organization_id = other.id FROM other"
        )
        span = {"from": begin.isoformat(), "to": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
        assert await webhook_driver.call("POST", f"/{endpoint['endpointId']}/replay", 202, json=span) == {"enqueued": 0}

    async def test_too_many_changes_are_refused(
        self, webhook_driver: WebhookDriver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deliveries, "MAX_REPLAYED", 2)
        endpoint = await webhook_driver.endpoint("https://a.example/")
        begin = datetime.now(UTC)
        for _ in range(3):
            await webhook_driver.driver.new()
        span = {"from": begin.isoformat(), "to": datetime.now(UTC).isoformat()}
        refused = await webhook_driver.call("POST", f"/{endpoint['endpointId']}/replay", 422, json=span)
        assert refused["code"] == "replay_too_large"


class TestPruning:
    async def test_old_finished_deliveries_are_deleted(self, webhook_driver: WebhookDriver, receiver: Receiver) -> None:
        endpoint = await webhook_driver.endpoint(receiver.url)
        async with webhook_driver.delivering():
            await webhook_driver.driver.new()
            (old,) = await webhook_driver.become(endpoint, "DELIVERED")
            await webhook_driver.execute("UPDATE deliveries SET finished_at = now() - interval '31 days'")
            await webhook_driver.driver.new()
            await webhook_driver.become(endpoint, "DELIVERED", "DELIVERED")
        await prune_deliveries(webhook_driver.context)
        (kept,) = await webhook_driver.log(endpoint)
        assert kept["deliveryId"] != old["deliveryId"]
        async with webhook_driver.sessions() as session:
            assert await session.scalar(text("SELECT count(*) FROM delivery_attempts")) == 1

    async def test_deliveries_to_a_disabled_endpoint_fail_after_three_days(self, webhook_driver: WebhookDriver) -> None:
        endpoint = await webhook_driver.endpoint("https://a.example/")
        await webhook_driver.driver.new()
        await webhook_driver.driver.new()
        await webhook_driver.call("PATCH", f"/{endpoint['endpointId']}", json={"enabled": False})
        await prune_deliveries(webhook_driver.context)
        assert await webhook_driver.states(endpoint) == ["PENDING", "PENDING"]
        await webhook_driver.execute("UPDATE webhook_endpoints SET disabled_at = now() - interval '3 days'")
        await webhook_driver.execute(
            "UPDATE deliveries SET since = now() - interval '3 days' "
            "WHERE id = (SELECT id FROM deliveries ORDER BY id LIMIT 1)"
        )
        await prune_deliveries(webhook_driver.context)
        assert await webhook_driver.states(endpoint) == ["FAILED", "PENDING"]

    async def test_a_deleted_endpoint_is_removed_after_a_day(self, webhook_driver: WebhookDriver) -> None:
        endpoint = await webhook_driver.endpoint("https://a.example/")
        await webhook_driver.driver.new()
        await webhook_driver.call("DELETE", f"/{endpoint['endpointId']}", 204)
        await prune_deliveries(webhook_driver.context)
        async with webhook_driver.sessions() as session:
            kept = (await session.execute(text("SELECT secret, previous_secret FROM webhook_endpoints"))).one()
            assert tuple(kept) == ("", None)
        await webhook_driver.execute("UPDATE webhook_endpoints SET deleted_at = now() - interval '1 day'")
        await prune_deliveries(webhook_driver.context)
        async with webhook_driver.sessions() as session:
            assert await session.scalar(text("SELECT count(*) FROM webhook_endpoints")) == 0
            assert await session.scalar(text("SELECT count(*) FROM deliveries")) == 0
        await webhook_driver.driver.new()


async def test_the_backlog_is_measured(webhook_driver: WebhookDriver, receiver: Receiver) -> None:
    await webhook_driver.endpoint(receiver.url)
    await webhook_driver.driver.new()
    async with webhook_driver.sessions() as session:
        waiting = await queue.backlog(session, now=datetime.now(UTC) + timedelta(seconds=60))
    assert waiting.count == 1
    assert timedelta(seconds=60) <= waiting.age < timedelta(seconds=120)


def test_a_secret_has_the_specified_form() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != new_secret()


async def test_claiming_uses_the_index_of_pending_deliveries(webhook_driver: WebhookDriver) -> None:
    """The backlog of one endpoint, or of a disabled one, does not slow down the others."""
    await webhook_driver.endpoint("https://a.example/")
    values = {"busy": [], "counts": [], "each": 4, "free": 32, "failing_free": 16, "lost": LOST}
    now = datetime.now(UTC)
    async with webhook_driver.sessions() as session:
        await session.execute(text("SET enable_seqscan = off"))
        explained = text("EXPLAIN " + queue.CLAIM.text)
        plan = "\n".join((await session.scalars(explained, values | {"now": now, "until": now})).all())
    assert plan.count("ix_deliveries_pending") == 2
    assert "Seq Scan on deliveries" not in plan

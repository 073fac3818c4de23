"""A worker killed during a delivery loses nothing: the next one sends it, and the log shows both attempts."""

import asyncio
import sys
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from app.webhooks.queue import LOST
from tests.e2e.conditions import eventually
from tests.e2e.processes import Process, clean_environment
from tests.webhooks.receiver import Received, Receiver
from tests.webhooks.webhook_driver import WebhookDriver


def worker(folder: Path, name: str, database: str) -> Process:
    environment = clean_environment(DATABASE_URL=database, JOIN_POLICY="open", LIVEKIT_URL="ws://127.0.0.1:9")
    command = [sys.executable, "-m", "app.cli", "worker"]
    return Process(command, env=environment, cwd=folder, log=folder / name)


@pytest.mark.slow
async def test_kill_9_during_a_delivery_loses_nothing(
    webhook_driver: WebhookDriver, receiver: Receiver, shared_database: str, tmp_path: Path
) -> None:
    async def hang(_: Received) -> None:
        await asyncio.Event().wait()

    receiver.before = hang
    endpoint = await webhook_driver.endpoint(receiver.url)
    for _ in range(10):
        await webhook_driver.driver.new()
    killed, next_one = worker(tmp_path, "killed", shared_database), worker(tmp_path, "next", shared_database)
    try:
        killed.start()
        await eventually(lambda: len(receiver.received) >= 4, within=60)
        killed.kill()
        under_way = {each.id for each in receiver.received}
        receiver.before = None
        await webhook_driver.execute("UPDATE deliveries SET next_attempt_at = now()")  # the leases run out
        next_one.start()
        log = await eventually(lambda: webhook_driver.become(endpoint, *["DELIVERED"] * 10), within=60)
    finally:
        killed.kill()
        next_one.kill()
    assert {each["webhookId"] for each in log} == {each.id for each in receiver.received}
    for delivery in log:
        tries = [(each["statusCode"], each["error"]) for each in delivery["attempts"]]
        lost = [(None, LOST)] if delivery["webhookId"] in under_way else []
        assert tries == [*lost, (200, None)]
    for request in receiver.received:
        Webhook(endpoint["secret"]).verify(request.body, request.headers)
    assert endpoint["secret"] not in killed.output + next_one.output

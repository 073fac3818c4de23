"""One post: whatever a receiver does, it has a result in time, which holds nothing of the receiver's text."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.webhooks import sender as module
from app.webhooks.retry_policy import DeliveryResponse
from app.webhooks.sender import Sender
from tests.webhooks.receiver import OK, Received, Receiver, status


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(allow_private=True, concurrency=2) as sender:
        yield sender


async def post(sender: Sender, receiver: Receiver) -> DeliveryResponse:
    return await sender.post(receiver.url, headers={"webhook-id": "msg_1"}, body=b"{}")


@pytest.mark.parametrize("code", [200, 201, 204, 299])
async def test_every_2xx_is_success(sender: Sender, receiver: Receiver, code: int) -> None:
    receiver.answer = status(code)
    answer = await post(sender, receiver)
    assert (answer.status_code, answer.error, answer.is_success) == (code, None, True)


@pytest.mark.parametrize("code", [300, 301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(sender: Sender, receiver: Receiver, code: int) -> None:
    receiver.answer = status(code, Location="http://169.254.169.254/")
    answer = await post(sender, receiver)
    assert (answer.status_code, answer.is_success) == (code, False)
    assert answer.error == module.REDIRECT
    assert len(receiver.received) == 1


async def test_the_connection_is_reused(sender: Sender, receiver: Receiver) -> None:
    for _ in range(5):
        await post(sender, receiver)
    assert receiver.connections == 1


async def test_a_long_response_is_not_read_to_its_end(sender: Sender, receiver: Receiver) -> None:
    receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000
    assert (await post(sender, receiver)).status_code == 200
    assert (await post(sender, receiver)).status_code == 200
    assert receiver.connections == 2


async def test_a_response_whose_body_never_ends_counts_by_its_status(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_TIMEOUT", 0.5)
    receiver.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"
    assert (await post(sender, receiver)).is_success


@pytest.mark.parametrize(
    "said",
    [b"", b"\x00\xff\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 200\r\nbroken", b"HTTP/1.1 999999 x\r\n\r\n"],
    ids=["nothing", "bytes", "ssh", "cut off", "odd status"],
)
async def test_a_response_that_is_not_http_is_a_failed_attempt(
    sender: Sender, receiver: Receiver, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    receiver.answer = said
    answer = await post(sender, receiver)
    assert answer.status_code is None
    assert answer.error
    assert "OpenSSH" not in answer.error


async def test_a_hanging_receiver_times_out_and_frees_its_connection(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: Received) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    receiver.before = hang
    for _ in range(4):  # more than the pool has connections
        error = (await post(sender, receiver)).error
        assert error
        assert error.startswith("No answer ")
    monkeypatch.setattr(module, "TIMEOUT", 60)
    receiver.before = None
    assert (await post(sender, receiver)).is_success


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999999999999999", 999_999_999),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("\u00b2", None),
        ("1.5", None),
    ],
)
async def test_retry_after(sender: Sender, receiver: Receiver, value: str, seconds: int | None) -> None:
    receiver.answer = OK.replace(b"200 OK", b"429 Slow").replace(
        b"\r\n\r\n", f"\r\nRetry-After: {value}\r\n\r\n".encode("latin-1")
    )
    answer = await post(sender, receiver)
    assert answer.status_code == 429
    assert answer.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(("ahead", "least", "most"), [(300, 200, 300), (-300, 0, 0)])
async def test_retry_after_as_a_date(sender: Sender, receiver: Receiver, ahead: int, least: int, most: int) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    receiver.answer = status(503, **{"Retry-After": at})
    answer = await post(sender, receiver)
    assert answer.retry_after is not None
    assert timedelta(seconds=least) <= answer.retry_after <= timedelta(seconds=most)

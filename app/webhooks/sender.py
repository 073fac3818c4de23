"""Posts messages. What it connects to is checked on the address itself, after the name was resolved."""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpcore

from app.core.errors import WebhookTargetRefused
from app.webhooks.retry_policy import DeliveryResponse
from app.webhooks.url_guard import Resolve, public_addresses, resolve_host

log = logging.getLogger(__name__)

TIMEOUT = 15.0  # seconds from the look-up of the name to the answer's status; under the lease
CONNECT_TIMEOUT = 5.0  # seconds for one address
DRAIN = 1.0  # seconds for the rest of the answer
LARGEST_ANSWER = 4096  # bytes that are read, for the connection's sake alone
KEEP_ALIVE = 20.0  # seconds
LONGEST_DELAY = 9  # digits of Retry-After
USER_AGENT = "interviews-webhooks/1.0 (Standard Webhooks)"
REDIRECT = "Redirects are not followed: change the endpoint's url."


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked: no second look-up may give another one (DNS rebinding).

    TLS and the Host header keep the name, as httpcore makes both of the URL.
    """

    def __init__(self, *, allow_private: bool, resolve: Resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await public_addresses(host, port, allow_private=self._allow_private, resolve=self._resolve)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("The host's name can't be resolved.") from error
        failed: Exception = httpcore.ConnectError("The host has no address.")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class Sender:
    """One a process, made in a running event loop and closed by `async with`. No proxy, cookie or redirect."""

    def __init__(
        self, *, allow_private: bool, at_once: int, resolve: Resolve = resolve_host, tls: ssl.SSLContext | None = None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpcore.default_ssl_context(),
            max_connections=at_once,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=CheckedNetwork(allow_private=allow_private, resolve=resolve),
        )
        self._allow_private = allow_private

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> DeliveryResponse:
        """Post the body once, and return what came of it. Raises nothing but what cancels it."""
        at = datetime.now(UTC)
        status_code: int | None = None
        error: str | None = None
        retry_after: timedelta | None = None
        try:
            async with asyncio.timeout(TIMEOUT) as limit:
                status_code, retry_after = await self._post(url, headers, body, limit)
            if 300 <= status_code < 400:
                error = REDIRECT
        except WebhookTargetRefused as refused:
            error = f"Refused. {refused.sentence}"
        except TimeoutError:
            error = f"No answer within {TIMEOUT:g} seconds."
        except Exception as failure:  # noqa: BLE001 - whatever a receiver does to us is a failed try
            error = _sentence(failure)
        return DeliveryResponse(at, datetime.now(UTC) - at, status_code, error, retry_after)

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, limit: asyncio.Timeout
    ) -> tuple[int, timedelta | None]:
        target = urlsplit(url)
        if target.scheme != "https" and not self._allow_private:
            raise WebhookTargetRefused("Give an https URL: what is sent must not be read on its way.")
        all_headers = {"Host": target.netloc, "User-Agent": USER_AGENT, "Accept": "*/*", **headers}
        timeouts = {"connect": CONNECT_TIMEOUT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}
        async with self._pool.stream(
            "POST", url, headers=list(all_headers.items()), content=body, extensions={"timeout": timeouts}
        ) as response:
            limit.reschedule(asyncio.get_running_loop().time() + 2 * DRAIN)  # answered in time: the rest has its own
            await _drain(response)
            return response.status, _retry_after(response)


async def _drain(response: httpcore.Response) -> None:
    """Read a short answer to its end, so that the connection can be used again; the status is known already."""
    read = 0
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        async with asyncio.timeout(DRAIN):
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > LARGEST_ANSWER:
                    return


def _retry_after(response: httpcore.Response) -> timedelta | None:
    """Return what the receiver asks for, by seconds or by a date; None for what can't be read."""
    value = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"").strip()
    text = value.decode("ascii", "replace")
    if text.isdecimal():
        return timedelta(seconds=int(text[:LONGEST_DELAY]))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC), timedelta())


def _sentence(failure: Exception) -> str:
    """Say what went wrong, and nothing that the receiver said."""
    cause: BaseException | None = failure
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "TLS could not be agreed on."
        cause = cause.__cause__ or cause.__context__
    match failure:
        case httpcore.ConnectTimeout():
            return f"No connection within {CONNECT_TIMEOUT:g} seconds."
        case httpcore.ConnectError():
            return f"No connection: {failure}"
        case httpcore.TimeoutException():
            return "No answer in time."
        case httpcore.NetworkError() | httpcore.RemoteProtocolError():
            return "The connection broke before there was an answer, or it was no HTTP."
        case _:
            log.warning("a webhook could not be posted: %s", type(failure).__name__)
            return f"It could not be sent: {type(failure).__name__}."

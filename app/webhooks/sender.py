"""Posts messages to webhook endpoints. Each address is checked after the host name is resolved."""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import urlsplit

import httpcore

from app.core.errors import WebhookTargetRefused
from app.webhooks.retry_policy import DeliveryResponse
from app.webhooks.url_guard import Resolve, public_addresses, require_https, resolve_host

log = logging.getLogger(__name__)

TIMEOUT = 15.0  # seconds from DNS lookup to the response's status; shorter than the lease
CONNECT_TIMEOUT = 5.0  # seconds for one address
DRAIN_TIMEOUT = 1.0  # seconds for the rest of the response
MAX_RESPONSE = 4096  # bytes, which are read only so that the connection can be reused
KEEP_ALIVE = 20.0  # seconds
MAX_RETRY_AFTER_DIGITS = 9
USER_AGENT = "interviews-webhooks/1.0 (Standard Webhooks)"
REDIRECT = "Redirects are not followed: change the endpoint's url."


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the checked address itself: a second lookup could return another one (DNS rebinding).

    TLS and the Host header keep the name, which httpcore takes from the URL.
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
        failure: Exception = httpcore.ConnectError("The host has no address.")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class Sender:
    """A pool of connections, one per process; `async with` closes it. It uses no proxy, cookie or redirect."""

    def __init__(
        self,
        *,
        allow_private: bool,
        concurrency: int,
        resolve: Resolve = resolve_host,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpcore.default_ssl_context(),
            max_connections=concurrency,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=CheckedNetwork(allow_private=allow_private, resolve=resolve),
        )
        self._allow_private = allow_private

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> DeliveryResponse:
        """Post the body once and return the result. Raises nothing except cancellation."""
        at = datetime.now(UTC)
        status_code = retry_after = error = None
        try:
            async with asyncio.timeout(TIMEOUT) as limit:
                status_code, retry_after = await self._post(url, headers, body, limit)
            error = REDIRECT if 300 <= status_code < 400 else None
        except WebhookTargetRefused as refused:
            error = f"Refused. {refused.sentence}"
        except TimeoutError:
            error = f"No answer within {TIMEOUT:g} seconds."
        except Exception as failure:  # noqa: BLE001 - anything that a receiver causes is a failed attempt
            error = _describe(failure)
        return DeliveryResponse(at, datetime.now(UTC) - at, status_code, error, retry_after)

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, limit: asyncio.Timeout
    ) -> tuple[int, timedelta | None]:
        target = urlsplit(url)
        require_https(target, allow_private=self._allow_private)
        all_headers = {"Host": target.netloc, "User-Agent": USER_AGENT, "Accept": "*/*", **headers}
        timeouts = {"connect": CONNECT_TIMEOUT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}
        async with self._pool.stream(
            "POST", url, headers=list(all_headers.items()), content=body, extensions={"timeout": timeouts}
        ) as response:
            # the status came in time, and the rest has its own timeout
            limit.reschedule(asyncio.get_running_loop().time() + 2 * DRAIN_TIMEOUT)
            await _drain(response)
            return response.status, _retry_after(response)


async def _drain(response: httpcore.Response) -> None:
    """Read a short response to its end, so that the connection can be reused."""
    read = 0
    with suppress(TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        async with asyncio.timeout(DRAIN_TIMEOUT):
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > MAX_RESPONSE:
                    return


def _retry_after(response: httpcore.Response) -> timedelta | None:
    """Return Retry-After, given in seconds or as a date; None if it is missing or malformed."""
    value = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"").strip()
    text = value.decode("ascii", "replace")
    if text.isdecimal():
        return timedelta(seconds=int(text[:MAX_RETRY_AFTER_DIGITS]))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC), timedelta())


def _describe(failure: Exception) -> str:
    """Return what went wrong, without any text of the receiver."""
    cause: BaseException | None = failure
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "The TLS handshake failed."
        cause = cause.__cause__ or cause.__context__
    match failure:
        case httpcore.ConnectTimeout():
            return f"No connection within {CONNECT_TIMEOUT:g} seconds."
        case httpcore.ConnectError():
            return f"No connection: {failure}"
        case httpcore.TimeoutException():
            return "No answer in time."
        case httpcore.NetworkError() | httpcore.RemoteProtocolError():
            return "The connection was lost before a response, or the response was not HTTP."
        case _:
            log.warning("a webhook could not be posted: %s", type(failure).__name__)
            return f"The request failed: {type(failure).__name__}."

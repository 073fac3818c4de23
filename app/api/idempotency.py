"""Idempotency-Key: a router with `route_class=IdempotentRoute` supports it on all its POST calls."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Message, Receive

from app.api.dependencies import MAX_BODY_SIZE, BodyReader, CallerWith, authenticate_request, bearer, read_body
from app.api.problems import add_error_responses
from app.api.routes import ApiRoute
from app.api.services import services_of
from app.auth.api_keys import Scope
from app.auth.idempotency_keys import Answer, Call, fingerprint_of, keep_answer, kept_answer, take_turn
from app.core.database import transaction
from app.core.errors import DatabaseUnavailable, IdempotencyKeyReused

NAME = "Idempotency-Key"
WAIT_TIMEOUT = 5.0  # seconds, for a concurrent request with the same key
POLL_INTERVAL = 0.05  # seconds
KEY = re.compile(r"[\x20-\x7e]{1,255}")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


async def documented_key(
    _: Annotated[
        str | None,
        Header(
            alias=NAME,
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]+$",
            description=(
                "A unique value, such as a UUID. For 24 hours, repeating the request with the same key returns the "
                "first response with `Idempotent-Replayed: true` and changes nothing. Errors are not stored."
            ),
            examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
        ),
    ] = None,
) -> None:
    """Document the header."""


class IdempotentRoute(ApiRoute):
    """A route that returns the stored response when a POST is repeated with the same Idempotency-Key.

    The handler must depend on the caller (`CallerWith`), and read its body with `JsonBody`. Its changes and the stored
    response are committed in one transaction.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in options["methods"]:
            options["dependencies"] = [*(options["dependencies"] or []), Depends(documented_key)]
        super().__init__(path, endpoint, **options)
        if "POST" in options["methods"]:
            add_error_responses(self.responses, IdempotencyKeyReused)

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return handle
        calls = [each.call for each in self.dependant.dependencies]
        (scope,) = [call.scope for call in calls if isinstance(call, CallerWith)]
        max_size = max((call.max_size for call in calls if isinstance(call, BodyReader)), default=MAX_BODY_SIZE)

        async def handle_once(request: Request) -> Response:
            if NAME not in request.headers:
                return await handle(request)
            return await _once(request, handle, scope=scope, max_size=max_size)

        return handle_once


async def _once(request: Request, handle: Handler, *, scope: Scope, max_size: int) -> Response:
    caller = await authenticate_request(request, await bearer(request))
    caller.require(scope)  # a stored response requires the same scope
    key = _key_of(request)
    body = await read_body(request, max_size=max_size)
    fingerprint = fingerprint_of(method=request.method, path=request.url.path, body=body)
    call = Call(caller.organization_id, key, fingerprint)
    for _ in range(round(WAIT_TIMEOUT / POLL_INTERVAL)):
        async with transaction(services_of(request).sessions) as session:
            request.state.caller, request.state.session = caller, session
            answer = await _try_once(session, Request(request.scope, _received(body)), handle, call)
        if answer:
            return answer
        await asyncio.sleep(POLL_INTERVAL)
    raise DatabaseUnavailable  # transient: the other request will finish


async def _try_once(session: AsyncSession, request: Request, handle: Handler, call: Call) -> Response | None:
    """Return the response, stored or new, or None while another request with the key is in progress."""
    now = services_of(request).clock()
    has_turn = await take_turn(session, call=call)  # before the read, which then sees what the previous request stored
    if kept := await kept_answer(session, call=call, now=now):
        return Response(kept.body, kept.status, {**kept.headers, "Idempotent-Replayed": "true"})
    if not has_turn:
        return None
    response = await handle(request)
    if response.status_code < 300:
        await keep_answer(session, call=call, answer=_answer_of(response), now=now)
    return response


def _key_of(request: Request) -> str:
    values = request.headers.getlist(NAME)
    if len(values) != 1 or not KEY.fullmatch(values[0]):
        message = "must be given once, as 1 to 255 printable ASCII characters"
        raise RequestValidationError([{"loc": ("header", NAME), "msg": message, "type": "value_error"}])
    return values[0]


def _received(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _answer_of(response: Response) -> Answer:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Answer(response.status_code, headers, bytes(response.body))

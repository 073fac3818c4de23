"""Idempotency-Key: a router made with `route_class=IdempotentRoute` takes it on each of its POST calls."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Message, Receive

from app.api.dependencies import MAX_BODY_SIZE, BodyReader, CallerWith, authenticated, bearer, now_of, read_body
from app.api.problems import add_error_responses
from app.api.routes import ApiRoute
from app.api.services import services_of
from app.auth.api_keys import Scope
from app.auth.idempotency_keys import Answer, Call, fingerprint_of, keep_answer, kept_answer, take_turn
from app.core.database import transaction
from app.core.errors import BodyTooLarge, DatabaseUnavailable, IdempotencyKeyReused, PayloadInvalid

NAME = "Idempotency-Key"
LONGEST_WAIT = 5.0  # seconds, for a call under the same key that is under way
LOOK_AGAIN = 0.05  # seconds
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
    """Put the header on the OpenAPI page."""


class IdempotentRoute(ApiRoute):
    """A route that answers a POST as it did before, if it comes again under the same Idempotency-Key.

    The handler must ask for the caller (`caller_with`), and for its body with `JsonBody`. Its session is the one whose
    transaction stores the answer too: both are committed, or neither.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in options["methods"]:
            options["dependencies"] = [*(options["dependencies"] or []), Depends(documented_key)]
        super().__init__(path, endpoint, **options)
        if "POST" in options["methods"]:
            add_error_responses(self.responses, IdempotencyKeyReused, PayloadInvalid, BodyTooLarge)

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        if "POST" not in (self.methods or ()):
            return handle
        asked = [each.call for each in self.dependant.dependencies]
        (scope,) = [call.scope for call in asked if isinstance(call, CallerWith)]
        max_size = max((call.max_size for call in asked if isinstance(call, BodyReader)), default=MAX_BODY_SIZE)

        async def handle_once(request: Request) -> Response:
            if NAME not in request.headers:
                return await handle(request)
            return await _once(request, handle, scope=scope, max_size=max_size)

        return handle_once


async def _once(
    request: Request, handle: Callable[[Request], Awaitable[Response]], *, scope: Scope, max_size: int
) -> Response:
    caller = await authenticated(request, await bearer(request))
    caller.require(scope)  # to be told an answer again takes the same right
    key = _key_of(request)
    body = await read_body(request, max_size=max_size)
    fingerprint = fingerprint_of(method=request.method, path=request.url.path, body=body)
    call = Call(caller.organization_id, key, fingerprint)
    for _ in range(round(LONGEST_WAIT / LOOK_AGAIN)):
        async with transaction(services_of(request).sessions) as session:
            request.state.caller, request.state.session = caller, session
            answer = await _answered(session, Request(request.scope, _received(body)), handle, call)
        if answer:
            return answer
        await asyncio.sleep(LOOK_AGAIN)
    raise DatabaseUnavailable  # passing, as the call under way will be over


async def _answered(
    session: AsyncSession, request: Request, handle: Callable[[Request], Awaitable[Response]], call: Call
) -> Response | None:
    """Return the answer, kept or new; None while another call under the key is under way."""
    now = now_of(request)
    has_turn = await take_turn(session, call=call)  # before the look: what the one before has kept is seen then
    if kept := await kept_answer(session, call=call, now=now):
        return Response(kept.body, kept.status, {**kept.headers, "Idempotent-Replayed": "true"})
    if not has_turn:
        return None
    response = await handle(request)
    if response.status_code < 300:
        await keep_answer(session, call=call, answer=_answer_of(response), now=now)
    return response


def _key_of(request: Request) -> str:
    given = request.headers.getlist(NAME)
    if len(given) != 1 or not KEY.fullmatch(given[0]):
        message = "must be given once, as 1 to 255 printable ASCII characters"
        raise RequestValidationError([{"loc": ("header", NAME), "msg": message, "type": "value_error"}])
    return given[0]


def _received(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _answer_of(response: Response) -> Answer:
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Answer(response.status_code, headers, bytes(response.body))

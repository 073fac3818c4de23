"""GET /interviews/stream: changes as server-sent events."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials
from starlette.types import Receive, Scope, Send

from app.api.dependencies import CurrentServices, Reader, Session, bearer
from app.api.problems import error_responses
from app.api.routes import ApiRoute
from app.core.errors import CursorInvalid, DatabaseUnavailable
from app.stream.feed import Position, starting_point
from app.stream.hub import Hub

log = logging.getLogger(__name__)

router = APIRouter(route_class=ApiRoute, tags=["recruiter"])

RETRY = 2000  # milliseconds that a client waits before it reconnects
CLOSE_TIMEOUT = 1.0  # seconds, for a client that does not read

EXAMPLE = """\
id: 7421-0
event: ready
retry: 2000
data: {}

id: 7423-1187
event: interview.status_changed
data: {"type":"interview.status_changed","timestamp":"2026-11-22T09:00:00.000Z","data":\
{"interviewId":"c6aec8f5-592b-4b90-b7fd-a6a6404b31f9","status":"IN_PROGRESS","previousStatus":"WAITING_FOR_AGENT",\
"endReason":null,"attempt":1,"sequence":3}}

: still here

"""
EVENTS: dict[str, Any] = {
    "description": "Server-sent events until either side closes the stream",
    "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
}


class EventStream(StreamingResponse):
    """A response that lasts until the client disconnects or the hub ends it."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, *, organization_id: uuid.UUID, key: str, after: Position) -> None:
        # X-Accel-Buffering: a proxy that buffers the response would never forward it
        super().__init__((), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._stream = partial(hub.stream, organization_id=organization_id, key=key, after=after)
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":  # there is nothing to wait for
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async def write(data: bytes) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await write(f"id: {self._after}\nevent: ready\nretry: {RETRY}\ndata: {{}}\n\n".encode())
        try:
            await self._stream(write)
        except DatabaseUnavailable as error:
            log.warning("a stream ends and its client must reconnect: %r", error.__cause__)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def get_turn(services: CurrentServices) -> AsyncIterator[None]:
    """Hold a turn while the stream starts: after a restart all clients reconnect at once."""
    async with services.hub.turns:
        yield


def get_key(_: Reader, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
    """Return the caller's key, which the stream checks again while it is open."""
    return credentials.credentials


@router.get(
    "/interviews/stream",
    status_code=200,  # FastAPI can't read it from a response class with its own __init__
    operation_id="streamChanges",
    summary="Stream changes as server-sent events",
    response_class=EventStream,
    responses={200: EVENTS, **error_responses(CursorInvalid)},
)
async def stream_changes(
    _: Annotated[None, Depends(get_turn, scope="function")],
    caller: Reader,
    key: Annotated[str, Depends(get_key)],
    session: Session,
    services: CurrentServices,
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event received: the stream continues after it")
    ] = None,
    first_after: Annotated[
        str | None, Query(alias="lastEventId", description="The same as a parameter; the header takes precedence")
    ] = None,
) -> EventStream:
    """`event` is the type, `data` the payload of the webhook, `id` the position in the stream.

    The first event is `ready`. Reconnect with the last `id` as `Last-Event-ID`, and no event is missed or repeated.
    An interview's changes arrive in the order of their `sequence`. A comment is sent every 15 seconds without a change.
    The stream ends when the service stops, when the key is revoked or expires, or when the client reads too slowly.
    A browser's EventSource can't send the API key: use a client built on `fetch`.
    """
    after = await starting_point(session, last_event_id=last_event_id or first_after)
    return EventStream(services.hub, organization_id=caller.organization_id, key=key, after=after)

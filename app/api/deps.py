"""What handlers ask for: a session with its transaction, the time, the settings' parts, and who calls."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller, Scope, authenticate
from app.config import Settings
from app.db import transaction
from app.errors import BodyTooLarge, RequestTooSlow, Unauthorized
from app.lifecycle import Waits
from app.livekit import Signer

BODY_WITHIN = 20.0  # seconds in all, however steadily it trickles

Shape = TypeVar("Shape", bound=BaseModel)

bearer = HTTPBearer(auto_error=False, description="An API key: ik_...")


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield the request's session. One transaction a request; it is committed before the answer leaves."""
    async with transaction(request.app.state.sessions) as session:
        yield session


# With FastAPI's default scope the answer would leave first, and the commit could fail after it.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


def get_now() -> datetime:
    return datetime.now(UTC)


def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def get_signer(request: Request) -> Signer:
    signer: Signer = request.app.state.signer
    return signer


def get_waits(request: Request) -> Waits:
    waits: Waits = request.app.state.waits
    return waits


async def read_body(request: Request, *, largest: int) -> bytes:
    """Return the body, without reading more of it than `largest` bytes. Raises BodyTooLarge or RequestTooSlow."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > largest):
        raise BodyTooLarge
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    raise BodyTooLarge
    except TimeoutError as error:
        raise RequestTooSlow from error
    return bytes(body)


def parse_body(shape: type[Shape], body: bytes) -> Shape:
    """Return the JSON body in its shape. Raises what FastAPI raises for a body that it reads itself."""
    try:
        # json, not pydantic's own parser: that takes half a character for broken JSON, and can't name its field
        return shape.model_validate(json.loads(body.strip() or b"{}"))
    except ValidationError as error:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error
    except (ValueError, RecursionError) as error:
        raise RequestValidationError([{"loc": ("body",), "msg": "must be JSON", "type": "json_invalid"}]) from error


def json_body(shape: type[Shape], *, largest: int = 64 * 1024) -> Callable[..., Coroutine[Any, Any, Shape]]:
    """Return a dependency that gives the request's JSON body, of whatever content type: fetch() says text/plain.

    Declare it after the caller: without a key nothing is read. `largest` is in bytes.
    """

    async def body(request: Request) -> Shape:
        return parse_body(shape, await read_body(request, largest=largest))

    return body


def body_documentation(shape: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return what the OpenAPI page says of a body that FastAPI does not read itself."""
    content = {"application/json": {"schema": shape.model_json_schema(by_alias=True)}}
    return {"requestBody": {"required": required, "content": content}}


def caller_with(scope: Scope) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """Return a dependency that gives the caller, if its API key carries the scope."""

    async def caller(
        session: Session, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        if credentials is None:
            raise Unauthorized
        found = await authenticate(session, key=credentials.credentials)
        found.require(scope)
        await session.commit()  # gives the connection back: a body may come slowly, and is read only now
        return found

    return caller


Now = Annotated[datetime, Depends(get_now)]
CurrentSettings = Annotated[Settings, Depends(get_settings)]
CurrentSigner = Annotated[Signer, Depends(get_signer)]
CurrentWaits = Annotated[Waits, Depends(get_waits)]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
Writer = Annotated[Caller, Depends(caller_with(Scope.WRITE))]
AgentCaller = Annotated[Caller, Depends(caller_with(Scope.AGENT))]
InterviewId = Annotated[uuid.UUID, Path(examples=["c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])]

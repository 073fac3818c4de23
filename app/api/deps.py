"""What handlers ask for: a session with its transaction, the time, the settings' parts, and who calls."""

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import Caller, Scope, authenticate
from app.config import Settings
from app.db import transaction
from app.errors import BodyTooLarge, Unauthorized
from app.lifecycle import Waits
from app.livekit import Signer

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
    """Return the body, without reading more of it than `largest` bytes. Raises BodyTooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise BodyTooLarge
    return bytes(body)


def caller_with(scope: Scope) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """Return a dependency that gives the caller, if its API key carries the scope."""

    async def caller(
        session: Session, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        if credentials is None:
            raise Unauthorized
        found = await authenticate(session, key=credentials.credentials)
        found.require(scope)
        return found

    return caller


Now = Annotated[datetime, Depends(get_now)]
CurrentSettings = Annotated[Settings, Depends(get_settings)]
CurrentSigner = Annotated[Signer, Depends(get_signer)]
CurrentWaits = Annotated[Waits, Depends(get_waits)]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
Writer = Annotated[Caller, Depends(caller_with(Scope.WRITE))]
InterviewId = Annotated[uuid.UUID, Path(examples=["c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])]

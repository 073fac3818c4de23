"""What handlers ask for: a session with its transaction, the time, the settings' parts, and who calls."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect

from app.api.headers import header_of
from app.api.rate_limits import count_key
from app.auth.api_keys import Caller, Scope, authenticate
from app.core.database import transaction
from app.core.errors import BodyTooLarge, InterviewNotFoundByCandidate, Unauthorized
from app.core.policy import JoinPolicy
from app.core.settings import Settings
from app.lifecycle import Timeouts
from app.livekit.access_tokens import Signer

Shape = TypeVar("Shape", bound=BaseModel)

LARGEST_BODY = 64 * 1024  # bytes, of most calls
MOST_FAULTS = 20_000

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="apiKey",
    bearerFormat="ik_...",
    description="An API key. It belongs to an organization, and carries scopes: `interviews:read`, `interviews:write`, "
    "`agent`, `admin`. `interviews keys create` makes one; a local start has `ik_local`.",
)


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield the request's session. One transaction a request; it is committed before the answer leaves.

    A call that carries an Idempotency-Key has its session already: whoever opened that commits it, answer and all.
    """
    if opened := getattr(request.state, "session", None):
        yield opened
        return
    async with transaction(request.app.state.sessions) as session:
        yield session


# With FastAPI's default scope the answer would leave first, and the commit could fail after it.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


def now_of(request: Request) -> datetime:
    now: datetime = request.app.state.clock()
    return now


# async, though they wait for nothing: FastAPI runs others in a thread each.
async def get_now(request: Request) -> datetime:
    return now_of(request)


async def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def get_signer(request: Request) -> Signer:
    signer: Signer = request.app.state.signer
    return signer


async def get_waits(request: Request) -> Timeouts:
    timeouts: Timeouts = request.app.state.timeouts
    return timeouts


async def read_body(request: Request, *, largest: int) -> bytes:
    """Return the body, without reading more of it than `largest` bytes. Raises BodyTooLarge.

    How long it may take is the protocol's to say (app.server.protocol).
    """
    announced = header_of(request.scope, b"content-length") or b""
    if announced.isdigit() and (len(announced) > 18 or int(announced) > largest):
        raise BodyTooLarge
    chunks, size, more = [], 0, True
    while more:  # not by request.stream(): a generator is slow for the one message that most bodies come in
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > largest:
            raise BodyTooLarge
        more = message.get("more_body", False)
    return b"".join(chunks)


def parse_body(shape: type[Shape], body: bytes) -> Shape:
    """Return the JSON body in its shape. Raises what FastAPI raises for a body that it reads itself."""
    try:
        # json, not pydantic's own parser: that takes half a character for broken JSON, and can't name its field
        # by alias alone: shapes can be built by their Python names, but what is documented is what callers may send
        return shape.model_validate(json.loads(body), by_alias=True, by_name=False)
    except ValidationError as error:
        if error.error_count() > MOST_FAULTS:  # each would take a hundred times the bytes that it took to send
            raise _not_valid(f"has {error.error_count()} faults: too many to name them") from error
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error
    except (ValueError, RecursionError) as error:
        raise _not_valid("must be JSON") from error


def _not_valid(message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body",), "msg": message, "type": "value_error"}])


@dataclass(frozen=True)
class JsonBody(Generic[Shape]):
    """A dependency: the request's JSON body, of whatever content type, as fetch() says text/plain.

    `largest` is in bytes: no more is read. One that is not required may be missing, as if it were {}.
    """

    shape: type[Shape]
    largest: int
    required: bool

    async def __call__(self, request: Request) -> Shape:
        body = await read_body(request, largest=self.largest)
        return parse_body(self.shape, body if self.required else body.strip() or b"{}")


def json_body(shape: type[Shape], *, largest: int = LARGEST_BODY, required: bool = True) -> JsonBody[Shape]:
    """Return a dependency that gives the JSON body. Declare it after the caller: without a key nothing is read."""
    return JsonBody(shape, largest, required)


def body_documentation(shape: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return what the document says of a body that FastAPI does not read itself; app.api.openapi gives it a name."""
    schema = shape.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}


async def authenticated(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    """Return who calls. Raises Unauthorized, RateLimited.

    In a transaction of its own: a body may come slowly, and is read only after this, without a connection held.
    """
    if credentials is None:
        raise Unauthorized
    async with transaction(request.app.state.sessions) as session:
        caller = await authenticate(session, key=credentials.credentials)
    request.app.state.last_used.note(caller.key_id)
    await count_key(request, caller.key_id)
    return caller


@dataclass(frozen=True)
class CallerWith:
    """A dependency: the caller, if its API key carries the scope."""

    scope: Scope

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        known: Caller | None = getattr(request.state, "caller", None)
        caller = known or await authenticated(request, credentials)
        caller.require(self.scope)
        return caller


def caller_with(scope: Scope) -> CallerWith:
    """Return a dependency that gives the caller, if its API key carries the scope."""
    return CallerWith(scope)


async def get_policy(request: Request) -> JoinPolicy:
    """Return the deployment's join policy: an organization's may be stricter."""
    settings: Settings = request.app.state.settings
    return settings.deployment_policy


Now = Annotated[datetime, Depends(get_now)]
CurrentSettings = Annotated[Settings, Depends(get_settings)]
CurrentSigner = Annotated[Signer, Depends(get_signer)]
CurrentPolicy = Annotated[JoinPolicy, Depends(get_policy)]
CurrentWaits = Annotated[Timeouts, Depends(get_waits)]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
Writer = Annotated[Caller, Depends(caller_with(Scope.WRITE))]
AgentCaller = Annotated[Caller, Depends(caller_with(Scope.AGENT))]
AdminCaller = Annotated[Caller, Depends(caller_with(Scope.ADMIN))]


class InterviewSegment(Convertor[str]):
    """What may be an interview's id in `/interviews/{interview_id:interview}`: the names of calls are none."""

    regex = "(?!(?:batch|stream|summary)$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("interview", InterviewSegment())
InterviewId = Annotated[uuid.UUID, Path(examples=["c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])]


async def documented_interview(interview_id: InterviewId) -> None:
    """Put the id on the OpenAPI page, for a route that reads it by interview_id_of."""


def interview_id_of(request: Request) -> uuid.UUID:
    """Return the interview's id in a candidate's path. Raises InterviewNotFoundByCandidate, for an invalid id too."""
    try:
        return uuid.UUID(request.path_params["interview_id"])
    except ValueError as error:
        raise InterviewNotFoundByCandidate from error

"""The dependencies of handlers: session, time, services, caller, body, interview id."""

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Path, Request, params
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import ClientDisconnect

from app.api.headers import header_of
from app.api.rate_limits import count_key
from app.api.services import Services, services_of
from app.auth.api_keys import Caller, Scope, authenticate
from app.core.database import raw_connection, transaction
from app.core.errors import BodyTooLarge, InterviewNotFound, InterviewNotFoundByCandidate, Unauthorized

Shape = TypeVar("Shape", bound=BaseModel)

MAX_BODY_SIZE = 64 * 1024  # bytes, unless a call allows more
MAX_FAULTS = 20_000

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="apiKey",
    bearerFormat="ik_...",
    description="An API key of an organization, with scopes: `interviews:read`, `interviews:write`, `agent`, `admin`. "
    "Create one with `interviews keys create`. A local start has `ik_local`.",
)


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield the request's session: one transaction a request, committed before the response is sent.

    A request with an Idempotency-Key has its session already; IdempotentRoute commits it together with the response.
    """
    if session := getattr(request.state, "session", None):
        yield session
        return
    async with transaction(services_of(request).sessions) as session:
        yield session


# With FastAPI's default scope the response would be sent first, and the commit could fail after it.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


# async although they await nothing: FastAPI runs sync dependencies in a thread each.
async def get_now(request: Request) -> datetime:
    return services_of(request).clock()


async def get_services(request: Request) -> Services:
    return services_of(request)


async def read_body(request: Request, *, max_size: int) -> bytes:
    """Return the body, of at most `max_size` bytes. Raises BodyTooLarge. app.server.protocol limits the time."""
    announced = header_of(request.scope, b"content-length") or b""
    if announced.isdigit() and (len(announced) > 18 or int(announced) > max_size):
        raise BodyTooLarge
    chunks, size, more = [], 0, True
    while more:  # not request.stream(): most bodies are one message, and a generator costs more than that
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_size:
            raise BodyTooLarge
        more = message.get("more_body", False)
    return b"".join(chunks)


def parse_body(shape: type[Shape], body: bytes) -> Shape:
    """Return the body as the model. Raises RequestValidationError, as FastAPI does for a body that it reads itself."""
    try:
        # json, not pydantic's parser: that rejects a lone surrogate as invalid JSON, without naming the field.
        # By alias only: the Python names of the fields are not documented.
        return shape.model_validate(json.loads(body), by_alias=True, by_name=False)
    except ValidationError as error:
        if error.error_count() > MAX_FAULTS:  # each takes a hundred times its size in the request
            raise _invalid_body(f"has {error.error_count()} faults: too many to name them") from error
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]) from error
    except (ValueError, RecursionError) as error:
        raise _invalid_body("must be JSON") from error


def _invalid_body(message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body",), "msg": message, "type": "value_error"}])


@dataclass(frozen=True)
class BodyReader(Generic[Shape]):
    """A dependency that returns the JSON body, whatever its content type. See JsonBody."""

    shape: type[Shape]
    max_size: int = MAX_BODY_SIZE
    required: bool = True

    async def __call__(self, request: Request) -> Shape:
        body = await read_body(request, max_size=self.max_size)
        return parse_body(self.shape, body if self.required else body.strip() or b"{}")

    def documentation(self) -> dict[str, Any]:
        """Return the OpenAPI request body, which FastAPI does not know of; app.api.openapi gives the model a name."""
        schema = self.shape.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        return {"required": self.required, "content": {"application/json": {"schema": schema}}}


@dataclass(frozen=True)
class JsonBody(params.Depends):
    """Marks a parameter as the JSON body: `body: Annotated[Model, JsonBody()]`.

    `max_size` is in bytes. A body that is not required may be missing, as if it were {}.
    Declare it after the caller, so that the body of a request without a key is not read.
    """

    max_size: int = field(default=MAX_BODY_SIZE, kw_only=True)
    required: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.dependency, type):  # FastAPI sets the annotated type as the dependency
            object.__setattr__(self, "dependency", BodyReader(self.dependency, self.max_size, self.required))


async def authenticate_request(request: Request, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    """Return the caller. Raises Unauthorized, RateLimited.

    On a connection of its own, so that no connection is held while a slow body is read.
    """
    if credentials is None:
        raise Unauthorized
    async with raw_connection(services_of(request).sessions) as connection:
        caller = await authenticate(connection, key=credentials.credentials)
    services_of(request).last_used.note(caller.key_id)
    await count_key(request, caller.key_id)
    return caller


@dataclass(frozen=True)
class CallerWith:
    """A dependency: the caller, whose API key must have the scope, or `or_scope` if that is given.

    Raises Unauthorized, MissingScope, RateLimited.
    """

    scope: Scope
    or_scope: Scope | None = None

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        authenticated: Caller | None = getattr(request.state, "caller", None)
        caller = authenticated or await authenticate_request(request, credentials)
        caller.require(*filter(None, (self.scope, self.or_scope)))
        return caller


Now = Annotated[datetime, Depends(get_now)]
CurrentServices = Annotated[Services, Depends(get_services)]
Reader = Annotated[Caller, Depends(CallerWith(Scope.READ))]
Writer = Annotated[Caller, Depends(CallerWith(Scope.WRITE))]
AgentCaller = Annotated[Caller, Depends(CallerWith(Scope.AGENT))]
TranscriptReader = Annotated[Caller, Depends(CallerWith(Scope.READ, Scope.AGENT))]
AdminCaller = Annotated[Caller, Depends(CallerWith(Scope.ADMIN))]


class InterviewSegment(StringConvertor):
    """The id in `/interviews/{interview_id:interview}`: any segment that is not the name of a collection call."""

    regex = "(?!(?:batch|stream|summary)$)[^/]+"


register_url_convertor("interview", InterviewSegment())
InterviewId = Annotated[uuid.UUID, Path(examples=["c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"])]


async def documented_interview(interview_id: InterviewId) -> None:
    """Document the id of a FastRoute, which reads it with interview_id_of."""


async def documented_own_interview(interview_id: InterviewId) -> None:
    """Document the id of a FastRoute of an organization's caller, which reads it with own_interview_id_of."""


def own_interview_id_of(request: Request) -> uuid.UUID:
    """Return the interview's id in the path. Raises InterviewNotFound, for an invalid id too."""
    try:
        return uuid.UUID(request.path_params["interview_id"])
    except ValueError as error:
        raise InterviewNotFound from error


def interview_id_of(request: Request) -> uuid.UUID:
    """Return the interview's id in a candidate's path. Raises InterviewNotFoundByCandidate, for an invalid id too."""
    try:
        return own_interview_id_of(request)
    except InterviewNotFound as error:
        raise InterviewNotFoundByCandidate from error

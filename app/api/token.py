"""LiveKit's standard token endpoint, for `TokenSource.endpoint(url)` of its clients.

The format is LiveKit's: snake_case, 201, every request field optional.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request, Response
from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)
from pydantic.alias_generators import to_camel

from app.api.dependencies import BodyReader, documented_interview
from app.api.join import ERRORS, join
from app.api.problems import error_responses
from app.api.routes import FastRoute
from app.api.services import services_of
from app.api.types import TEXT_OR_NUMBER, GivenPhoneNumber, must
from app.core.errors import TokenFieldNotAllowed
from app.interviews.token import TokenOptions

router = APIRouter(tags=["candidate"], route_class=FastRoute)

MAX_DEPTH = 8  # levels of a room_config; LiveKit's own has five


def _is_shallow(value: JsonValue, levels: int = MAX_DEPTH) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_is_shallow(inner, levels - 1) for inner in value)
    return True


RoomConfig = Annotated[dict[str, JsonValue], must(_is_shallow, f"must not be nested deeper than {MAX_DEPTH} levels")]


class TokenRequest(BaseModel):
    """LiveKit's TokenSourceRequest. The interview decides every field: leave it out, or send the interview's value.

    `phone_number` and `invite` are additions of this service, for the join policies.
    """

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(name, to_camel(name)))
    )

    _sent: frozenset[str] = PrivateAttr(frozenset())

    room_name: str | None = None
    participant_name: str | None = None
    participant_identity: str | None = None
    participant_metadata: str | None = None
    participant_attributes: dict[str, str] | None = None
    room_config: RoomConfig | None = Field(
        None, description="LiveKit's RoomConfiguration. `agents` may name the agent that this service dispatches"
    )
    phone_number: GivenPhoneNumber | None = Field(None, json_schema_extra=TEXT_OR_NUMBER)
    invite: str | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _note_spelling(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        request = handler(value)
        if isinstance(value, Mapping):
            request._sent = frozenset(value)  # noqa: SLF001 - of this class
        return request

    def token_options(self) -> TokenOptions:
        options = self.model_dump(exclude={"phone_number", "invite"})
        return TokenOptions(**options, sent_as={name: to_camel(name) for name in options if name not in self._sent})


class TokenResponse(BaseModel):
    """LiveKit's TokenSourceResponse."""

    server_url: str = Field(examples=["ws://127.0.0.1:7880"])
    participant_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."])


read_request = BodyReader(TokenRequest, required=False)


@router.post(
    "/interviews/{interview_id}/token",  # noqa: FAST003 - a FastRoute reads it itself
    status_code=201,
    operation_id="createToken",
    summary="Create an access token (LiveKit's standard token endpoint)",
    responses=error_responses(*ERRORS, TokenFieldNotAllowed),
    response_model=TokenResponse,
    dependencies=[Depends(documented_interview), Depends(read_request)],
)
async def create_token(request: Request) -> Response:
    """Join through `TokenSource.endpoint(url, {headers})` of LiveKit's clients. Fetching a token changes no status.

    These clients can't add to the body: send an invitation's secret as `Authorization: Bearer inv_...`.
    """
    result = await join(request, read_request, TokenRequest.token_options)
    content = TokenResponse(server_url=services_of(request).settings.livekit_url, participant_token=result.token)
    return Response(content.model_dump_json(), 201, media_type="application/json")

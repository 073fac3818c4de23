"""LiveKit's standard token endpoint: what `TokenSource.endpoint(url)` of its clients calls.

The format is LiveKit's: snake_case, 201, each field of the request optional.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, AliasChoices, BaseModel, Field, JsonValue

from app.api.dependencies import body_documentation, documented_interview, json_body
from app.api.fast_route import FastRoute
from app.api.join import ERRORS, join
from app.api.problems import error_responses
from app.api.types import TEXT_OR_NUMBER
from app.core.errors import TokenFieldNotAllowed
from app.interviews.token import TokenOptions

router = APIRouter(tags=["candidate"], route_class=FastRoute)

DEEPEST = 8  # levels of a room_config; LiveKit's own needs five


def _shallow(value: JsonValue, levels: int = DEEPEST) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_shallow(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_shallow(inner, levels - 1) for inner in value)
    return True


def _not_deep(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if not _shallow(value):
        raise ValueError(f"must not be nested deeper than {DEEPEST} levels")
    return value


def _either(name: str, spelling: str) -> AliasChoices:
    """JavaScript's client sends the names of the protocol, others those of JSON."""
    return AliasChoices(name, spelling)


class TokenRequest(BaseModel):
    """LiveKit's TokenSourceRequest. The interview decides all of it: what is sent must be empty or equal to ours.

    `phone_number` and `invite` are this service's own, for the join policies.
    """

    room_name: str | None = Field(None, validation_alias=_either("room_name", "roomName"))
    participant_name: str | None = Field(None, validation_alias=_either("participant_name", "participantName"))
    participant_identity: str | None = Field(
        None, validation_alias=_either("participant_identity", "participantIdentity")
    )
    participant_metadata: str | None = Field(
        None, validation_alias=_either("participant_metadata", "participantMetadata")
    )
    participant_attributes: dict[str, str] | None = Field(
        None, validation_alias=_either("participant_attributes", "participantAttributes")
    )
    room_config: Annotated[dict[str, JsonValue], AfterValidator(_not_deep)] | None = Field(
        None,
        validation_alias=_either("room_config", "roomConfig"),
        description="LiveKit's RoomConfiguration: `agents` may name the agent that this service dispatches anyway",
    )

    phone_number: str | None = Field(
        None,
        validation_alias=_either("phone_number", "phoneNumber"),
        coerce_numbers_to_str=True,
        json_schema_extra=TEXT_OR_NUMBER,
    )
    invite: str | None = None

    def token_options(self) -> TokenOptions:
        return TokenOptions(**self.model_dump(exclude={"phone_number", "invite"}))


class TokenResponse(BaseModel):
    """LiveKit's TokenSourceResponse."""

    server_url: str = Field(examples=["ws://127.0.0.1:7880"])
    participant_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."])


read_request = json_body(TokenRequest, required=False)


@router.post(
    "/interviews/{interview_id}/token",  # noqa: FAST003 - a plain route reads it itself
    status_code=201,
    operation_id="createToken",
    summary="Get an access token in the form of LiveKit's standard token endpoint",
    responses=error_responses(*ERRORS, TokenFieldNotAllowed),
    response_model=TokenResponse,
    dependencies=[Depends(documented_interview)],
    openapi_extra=body_documentation(TokenRequest, required=False),
)
async def create_token(request: Request) -> Response:
    """Join, for `TokenSource.endpoint(url, {headers})` of LiveKit's clients. Asking moves nothing: clients fetch ahead.

    They can't add to the body, so an invitation's secret is sent as `Authorization: Bearer inv_...`.
    """
    result = await join(request, read_request, TokenRequest.token_options)
    answer = TokenResponse(server_url=request.app.state.settings.livekit_url, participant_token=result.token)
    return Response(answer.model_dump_json(), 201, media_type="application/json")

"""LiveKit's webhooks."""

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import APIKeyHeader

from app.api.dependencies import read_body
from app.api.problems import error_responses
from app.api.routes import FastRoute
from app.api.schemas import WebhookAnswer
from app.api.services import services_of
from app.core.errors import BodyTooLarge, DatabaseUnavailable, WebhookInvalid, WebhookNotSigned
from app.interviews.livekit_events import record_webhook
from app.livekit.webhooks import parse_event, verify_webhook

router = APIRouter(tags=["LiveKit"], route_class=FastRoute)

# The properties have no type: an event that can't be parsed is ignored, with 200.
LIVEKIT_EVENT = {
    "title": "LiveKitEvent",
    "description": "LiveKit's WebhookEvent as protojson. Other fields are ignored.",
    "type": "object",
    "properties": {
        "event": {"examples": ["participant_joined"]},
        "id": {"examples": ["EV_bD4Wf8TEkRkd"]},
        "createdAt": {"description": "Unix time in seconds", "examples": ["1795338000"]},
    },
}
signed = APIKeyHeader(
    name="Authorization",
    scheme_name="liveKitSignature",
    auto_error=False,
    description="A JWT without 'Bearer', signed with the secret of LIVEKIT_API_KEY: `iss` is the key, `sha256` the "
    "base64 digest of the raw body.",
)
MAX_WEBHOOK_SIZE = 2 * 1024 * 1024  # bytes: room and participant metadata, 512 KiB each, escaped


@router.post(
    "/webhooks/livekit",
    operation_id="receiveLiveKitWebhook",
    summary="Receive a LiveKit event",
    response_model=WebhookAnswer,
    dependencies=[Depends(signed)],
    responses=error_responses(WebhookInvalid, WebhookNotSigned, BodyTooLarge, DatabaseUnavailable),
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/webhook+json": {"schema": LIVEKIT_EVENT}}}
    },
)
async def receive_webhook(request: Request) -> Response:
    """Return 200 once the event is committed. LiveKit does not retry after any 2xx or 4xx."""
    signatures = request.headers.getlist("Authorization")
    if len(signatures) > 1:  # a proxy in front may have verified the other one
        raise WebhookNotSigned
    services = services_of(request)
    body = await read_body(request, max_size=MAX_WEBHOOK_SIZE)
    verify_webhook(body, signatures[0] if signatures else None, services.settings.livekit_keys)
    result = await record_webhook(
        services.sessions, services.livekit_events, event=parse_event(body), now=services.clock()
    )
    return Response(WebhookAnswer(result=result.value).model_dump_json(), media_type="application/json")

"""What LiveKit calls."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import APIKeyHeader

from app.api.deps import CurrentSettings, Now, read_body
from app.api.problems import answers
from app.api.schemas import WebhookAnswer
from app.errors import BodyTooLarge, DatabaseUnavailable, WebhookInvalid, WebhookNotSigned
from app.events import receive
from app.livekit import Event, parse_event, verify_webhook

router = APIRouter(tags=["LiveKit"])

# Its members are of any type: what we can't read is recorded as being of no concern, and answered 200.
LIVEKIT_EVENT = {
    "title": "LiveKitEvent",
    "description": "LiveKit's WebhookEvent as protojson. What it holds beside these is of no concern here.",
    "type": "object",
    "properties": {
        "event": {"examples": ["participant_joined"]},
        "id": {"examples": ["EV_bD4Wf8TEkRkd"]},
        "createdAt": {"description": "seconds since 1970", "examples": ["1795338000"]},
    },
}
signed = APIKeyHeader(
    name="Authorization",
    scheme_name="liveKitSignature",
    auto_error=False,
    description="A JWT without 'Bearer', signed with the secret of LIVEKIT_API_KEY: `iss` is the key, `sha256` the "
    "base64 of the raw body's digest.",
)
LARGEST_WEBHOOK = 2 * 1024 * 1024  # bytes: room and participant metadata, 512 KiB each, escaped


async def verified_event(
    request: Request, settings: CurrentSettings, signature: Annotated[str | None, Depends(signed)]
) -> Event:
    """Return the event, once its raw bytes are known to be signed by one of our keys."""
    if len(request.headers.getlist("Authorization")) > 1:  # a proxy before us may have judged the other one
        raise WebhookNotSigned
    body = await read_body(request, largest=LARGEST_WEBHOOK)
    verify_webhook(body, signature, settings.livekit_keys)
    return parse_event(body)


@router.post(
    "/webhooks/livekit",
    operation_id="receiveLiveKitWebhook",
    summary="Receive an event of LiveKit's",
    responses=answers(WebhookInvalid, WebhookNotSigned, BodyTooLarge, DatabaseUnavailable),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/webhook+json": {"schema": LIVEKIT_EVENT}},
        }
    },
)
async def receive_webhook(
    request: Request, event: Annotated[Event, Depends(verified_event)], now: Now
) -> WebhookAnswer:
    """Answer 200 once the event is committed: LiveKit never again sends what was answered with any 2xx or 4xx."""
    state = request.app.state
    recorded = await receive(state.sessions, state.recording, event=event, now=now)
    return WebhookAnswer(result=recorded.value)

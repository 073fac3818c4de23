"""What LiveKit calls."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.api.deps import CurrentSettings, CurrentWaits, Now, Session, read_body
from app.api.problems import answers
from app.api.schemas import WebhookAnswer
from app.errors import BodyTooLarge, DatabaseUnavailable, WebhookInvalid, WebhookNotSigned
from app.events import record
from app.livekit import Event, parse_event, verify_webhook

router = APIRouter(tags=["LiveKit"])

LARGEST_WEBHOOK = 2 * 1024 * 1024  # bytes: room and participant metadata, 512 KiB each, escaped


async def verified_event(request: Request, settings: CurrentSettings) -> Event:
    """Return the event, once its raw bytes are known to be signed by one of our keys."""
    if len(request.headers.getlist("Authorization")) > 1:  # a proxy before us may have judged the other one
        raise WebhookNotSigned
    body = await read_body(request, largest=LARGEST_WEBHOOK)
    verify_webhook(body, request.headers.get("Authorization"), settings.livekit_keys)
    return parse_event(body)


@router.post(
    "/webhooks/livekit",
    operation_id="receiveLiveKitWebhook",
    summary="Receive an event of LiveKit's",
    responses=answers(WebhookInvalid, WebhookNotSigned, BodyTooLarge, DatabaseUnavailable),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/webhook+json": {"schema": {"type": "object"}}},
        }
    },
)
async def receive_webhook(
    event: Annotated[Event, Depends(verified_event)], session: Session, now: Now, waits: CurrentWaits
) -> WebhookAnswer:
    """Answer 200 once the event is committed: LiveKit never again sends what was answered with any 2xx or 4xx."""
    return WebhookAnswer(result=(await record(session, event=event, now=now, waits=waits)).value)

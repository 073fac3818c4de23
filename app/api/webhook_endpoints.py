"""What platforms call to be told of changes: outgoing webhooks, by the Standard Webhooks specification.

What LiveKit sends to us is in app.api.livekit_webhook.
"""

import uuid
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.api.dependencies import AdminCaller, CurrentServices, JsonBody, Now, Reader, Session
from app.api.idempotency import IdempotentRoute
from app.api.problems import error_responses
from app.api.webhook_schemas import (
    Delivery,
    DeliveryPage,
    NewWebhookEndpoint,
    ReplayResult,
    ReplaySpan,
    WebhookEndpoint,
    WebhookEndpointPage,
    WebhookEndpointUpdate,
    WebhookEndpointWithSecret,
)
from app.core.errors import ReplayTooLarge, TooManyWebhookEndpoints, WebhookEndpointDisabled, WebhookTargetRefused
from app.webhooks.deliveries import list_deliveries, replay_delivery, replay_span, send_test
from app.webhooks.endpoints import (
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    find_endpoint,
    list_endpoints,
    rotate_secret,
)
from app.webhooks.retry_policy import DeliveryState
from app.webhooks.url_guard import check_url

router = APIRouter(prefix="/webhook-endpoints", tags=["webhooks"], route_class=IdempotentRoute)

EndpointId = Annotated[uuid.UUID, Path(examples=["5f0c3a52-3a43-4d0a-9d3a-9d8f1c1a7e10"])]
DeliveryId = Annotated[uuid.UUID, Path(examples=["0b0f5f3e-52a1-4c52-8a4c-0f0a5f0f6d21"])]
REPLAY = {
    "operationId": "replayDelivery",
    "parameters": {"endpoint_id": "$request.path.endpoint_id", "delivery_id": "$response.body#/deliveryId"},
}
Cursor = Annotated[str | None, Query(max_length=200, description="nextCursor of the page before")]


@router.post(
    "",
    status_code=201,
    operation_id="createWebhookEndpoint",
    summary="Be told of changes at an address",
    responses=error_responses(WebhookTargetRefused, TooManyWebhookEndpoints),
)
async def create(
    caller: AdminCaller,
    body: Annotated[NewWebhookEndpoint, JsonBody()],
    response: Response,
    session: Session,
    now: Now,
    services: CurrentServices,
) -> WebhookEndpointWithSecret:
    """The secret is in this answer, and in its repetitions under the same Idempotency-Key alone. Send a test then."""
    await check_url(str(body.url), allow_private=services.settings.webhooks_to_private)
    endpoint = await create_endpoint(
        session,
        organization_id=caller.organization_id,
        url=str(body.url),
        description=body.description,
        event_types=body.event_types,
        now=now,
    )
    response.headers["Location"] = f"/webhook-endpoints/{endpoint.id}"
    response.headers["Cache-Control"] = "no-store"
    return WebhookEndpointWithSecret.of(endpoint)


@router.get(
    "",
    operation_id="listWebhookEndpoints",
    summary="List webhook endpoints, newest first",
)
async def list_page(
    caller: Reader, session: Session, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> WebhookEndpointPage:
    page = await list_endpoints(session, organization_id=caller.organization_id, cursor=cursor, limit=limit)
    return WebhookEndpointPage(data=[WebhookEndpoint.of(each) for each in page.endpoints], next_cursor=page.next_cursor)


@router.get(
    "/{endpoint_id}",
    operation_id="getWebhookEndpoint",
    summary="Read a webhook endpoint",
)
async def read(endpoint_id: EndpointId, caller: Reader, session: Session) -> WebhookEndpoint:
    return WebhookEndpoint.of(
        await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    )


@router.patch(
    "/{endpoint_id}",
    operation_id="updateWebhookEndpoint",
    summary="Change a webhook endpoint, disable it, or enable it again",
    responses=error_responses(WebhookTargetRefused),
)
async def update(
    endpoint_id: EndpointId,
    caller: AdminCaller,
    body: Annotated[WebhookEndpointUpdate, JsonBody()],
    session: Session,
    now: Now,
    services: CurrentServices,
) -> WebhookEndpoint:
    """What happens while it is disabled is not enqueued: replay that span afterwards."""
    to = body.changes()
    if "url" in to:
        await check_url(to["url"], allow_private=services.settings.webhooks_to_private)
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id, lock=True)
    await change_endpoint(session, endpoint=endpoint, to=to, now=now)
    return WebhookEndpoint.of(endpoint)


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    operation_id="deleteWebhookEndpoint",
    summary="Delete a webhook endpoint",
)
async def delete(endpoint_id: EndpointId, caller: AdminCaller, session: Session, now: Now) -> None:
    """What is pending is not sent any more; its log is gone with it."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id, lock=True)
    await delete_endpoint(session, endpoint=endpoint, now=now)


@router.post(
    "/{endpoint_id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Give a webhook endpoint a new secret",
)
async def rotate(
    endpoint_id: EndpointId, caller: AdminCaller, response: Response, session: Session, now: Now
) -> WebhookEndpointWithSecret:
    """For 24 hours each message carries both signatures: of the new secret, and of the one before."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id, lock=True)
    await rotate_secret(session, endpoint=endpoint, now=now)
    response.headers["Cache-Control"] = "no-store"
    return WebhookEndpointWithSecret.of(endpoint)


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    operation_id="testWebhookEndpoint",
    summary="Send a test message",
    responses={
        202: {"links": {"replay": REPLAY}},
        **error_responses(WebhookEndpointDisabled),
    },
)
async def test(endpoint_id: EndpointId, caller: AdminCaller, session: Session, now: Now) -> Delivery:
    """Its type is `webhook.test`. It goes the way of all others: look for it in the endpoint's deliveries."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    return Delivery.of(await send_test(session, endpoint=endpoint, now=now))


@router.get(
    "/{endpoint_id}/deliveries",
    operation_id="listDeliveries",
    summary="Read what was sent to a webhook endpoint, newest first",
)
async def deliveries(
    endpoint_id: EndpointId,
    caller: Reader,
    session: Session,
    state: Annotated[list[DeliveryState] | None, Query(description="Several mean any of them")] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveryPage:
    """Finished deliveries are kept for 30 days."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    page = await list_deliveries(session, endpoint=endpoint, states=state or [], cursor=cursor, limit=limit)
    return DeliveryPage(data=[Delivery.of(each) for each in page.deliveries], next_cursor=page.next_cursor)


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    operation_id="replayDelivery",
    summary="Send a delivery again",
    responses=error_responses(WebhookEndpointDisabled),
)
async def replay_one(
    endpoint_id: EndpointId, delivery_id: DeliveryId, caller: AdminCaller, session: Session, now: Now
) -> Delivery:
    """The same message under the same webhook-id: a receiver that had it knows it. A pending one is sent at once."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    return Delivery.of(await replay_delivery(session, endpoint=endpoint, delivery_id=delivery_id, now=now))


@router.post(
    "/{endpoint_id}/replay",
    status_code=202,
    operation_id="replaySpan",
    summary="Send everything of a span of time again",
    responses=error_responses(WebhookEndpointDisabled, ReplayTooLarge),
)
async def replay(
    endpoint_id: EndpointId,
    caller: AdminCaller,
    session: Session,
    now: Now,
    body: Annotated[ReplaySpan, JsonBody()],
) -> ReplayResult:
    """Every change that the endpoint's types match, at most 10,000: also what it was never told of, as it was disabled
    or not there yet. A change keeps its webhook-id."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    enqueued = await replay_span(session, endpoint=endpoint, since=body.since, until=body.until, now=now)
    return ReplayResult(enqueued=enqueued)

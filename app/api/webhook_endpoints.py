"""Endpoints and deliveries of outgoing webhooks. Incoming ones of LiveKit are in app.api.livekit_webhook."""

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
from app.webhooks import deliveries, endpoints
from app.webhooks.endpoints import find_endpoint
from app.webhooks.retry_policy import DeliveryState
from app.webhooks.url_guard import check_url

router = APIRouter(prefix="/webhook-endpoints", tags=["webhooks"], route_class=IdempotentRoute)

EndpointId = Annotated[uuid.UUID, Path(examples=["5f0c3a52-3a43-4d0a-9d3a-9d8f1c1a7e10"])]
DeliveryId = Annotated[uuid.UUID, Path(examples=["0b0f5f3e-52a1-4c52-8a4c-0f0a5f0f6d21"])]
REPLAY = {
    "operationId": "replayDelivery",
    "parameters": {"endpoint_id": "$request.path.endpoint_id", "delivery_id": "$response.body#/deliveryId"},
}
Cursor = Annotated[str | None, Query(max_length=200, description="nextCursor of the previous page")]


@router.post(
    "",
    status_code=201,
    operation_id="createWebhookEndpoint",
    summary="Create a webhook endpoint",
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
    """The secret is returned only here, and when repeated with the same Idempotency-Key. Send a test next."""
    await check_url(str(body.url), allow_private=services.settings.webhooks_to_private)
    endpoint = await endpoints.create_endpoint(
        session,
        organization_id=caller.organization_id,
        url=str(body.url),
        description=body.description,
        event_types=body.event_types,
        now=now,
    )
    response.headers["Location"] = f"/webhook-endpoints/{endpoint.id}"
    response.headers["Cache-Control"] = "no-store"
    return WebhookEndpointWithSecret.of(endpoint, secret=endpoint.secret)


@router.get("", operation_id="listWebhookEndpoints", summary="List webhook endpoints, newest first")
async def list_page(
    caller: Reader, session: Session, cursor: Cursor = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> WebhookEndpointPage:
    page = await endpoints.list_endpoints(session, organization_id=caller.organization_id, cursor=cursor, limit=limit)
    return WebhookEndpointPage(data=[WebhookEndpoint.of(each) for each in page.items], next_cursor=page.next_cursor)


@router.get("/{endpoint_id}", operation_id="getWebhookEndpoint", summary="Get a webhook endpoint")
async def read(endpoint_id: EndpointId, caller: Reader, session: Session) -> WebhookEndpoint:
    return WebhookEndpoint.of(
        await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    )


@router.patch(
    "/{endpoint_id}",
    operation_id="updateWebhookEndpoint",
    summary="Update, disable or enable a webhook endpoint",
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
    """Changes are not enqueued while it is disabled: replay that time span afterwards."""
    changes = body.changes()
    if "url" in changes:
        await check_url(changes["url"], allow_private=services.settings.webhooks_to_private)
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id, lock=True)
    await endpoints.change_endpoint(session, endpoint=endpoint, changes=changes, now=now)
    return WebhookEndpoint.of(endpoint)


@router.delete(
    "/{endpoint_id}", status_code=204, operation_id="deleteWebhookEndpoint", summary="Delete a webhook endpoint"
)
async def delete(endpoint_id: EndpointId, caller: AdminCaller, session: Session, now: Now) -> None:
    """Pending deliveries are not sent. Its delivery log is deleted too."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id, lock=True)
    await endpoints.delete_endpoint(session, endpoint=endpoint, now=now)


@router.post(
    "/{endpoint_id}/rotate-secret", operation_id="rotateWebhookSecret", summary="Rotate a webhook endpoint's secret"
)
async def rotate(
    endpoint_id: EndpointId, caller: AdminCaller, response: Response, session: Session, now: Now
) -> WebhookEndpointWithSecret:
    """For 24 hours each message is signed with both the new and the previous secret."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id, lock=True)
    await endpoints.rotate_secret(session, endpoint=endpoint, now=now)
    response.headers["Cache-Control"] = "no-store"
    return WebhookEndpointWithSecret.of(endpoint, secret=endpoint.secret)


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    operation_id="testWebhookEndpoint",
    summary="Send a test message",
    responses={202: {"links": {"replay": REPLAY}}, **error_responses(WebhookEndpointDisabled)},
)
async def test(endpoint_id: EndpointId, caller: AdminCaller, session: Session, now: Now) -> Delivery:
    """Its type is `webhook.test`. It is sent like any event: see the endpoint's deliveries for the result."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    return Delivery.of(await deliveries.send_test(session, endpoint=endpoint, now=now))


@router.get(
    "/{endpoint_id}/deliveries",
    operation_id="listDeliveries",
    summary="List a webhook endpoint's deliveries, newest first",
)
async def delivery_page(
    endpoint_id: EndpointId,
    caller: Reader,
    session: Session,
    state: Annotated[
        list[DeliveryState] | None, Query(description="Repeat the parameter to match any of several")
    ] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveryPage:
    """Finished deliveries are kept for 30 days."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    page = await deliveries.list_deliveries(session, endpoint=endpoint, states=state or [], cursor=cursor, limit=limit)
    return DeliveryPage(data=[Delivery.of(each) for each in page.items], next_cursor=page.next_cursor)


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    operation_id="replayDelivery",
    summary="Resend a delivery",
    responses=error_responses(WebhookEndpointDisabled),
)
async def replay_one(
    endpoint_id: EndpointId, delivery_id: DeliveryId, caller: AdminCaller, session: Session, now: Now
) -> Delivery:
    """Sends the same message with the same webhook-id. A pending delivery is sent at once."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    return Delivery.of(await deliveries.replay_delivery(session, endpoint=endpoint, delivery_id=delivery_id, now=now))


@router.post(
    "/{endpoint_id}/replay",
    status_code=202,
    operation_id="replaySpan",
    summary="Resend all changes of a time span",
    responses=error_responses(WebhookEndpointDisabled, ReplayTooLarge),
)
async def replay(
    endpoint_id: EndpointId,
    caller: AdminCaller,
    session: Session,
    now: Now,
    body: Annotated[ReplaySpan, JsonBody()],
) -> ReplayResult:
    """Enqueues the changes that match the endpoint's event types, at most 10,000. Includes changes made while it was
    disabled or before it was created. Each keeps its webhook-id."""
    endpoint = await find_endpoint(session, organization_id=caller.organization_id, endpoint_id=endpoint_id)
    enqueued = await deliveries.replay_span(session, endpoint=endpoint, since=body.since, until=body.until, now=now)
    return ReplayResult(enqueued=enqueued)

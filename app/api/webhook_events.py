"""The events sent to webhook endpoints, for the OpenAPI document. app.webhooks.payload builds them."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header
from pydantic import Field

from app.api.examples import AT
from app.api.types import Instant, Shape
from app.interviews.demo import DEMO_ID
from app.lifecycle import EndReason, PublicStatus
from app.models import Change, ChangeType
from app.webhooks.payload import PATHS, TEST, payload_of


@dataclass(frozen=True, slots=True)
class EventExample:
    """The summary of an event type, and an example: previous status, status, end reason."""

    summary: str
    example: tuple[PublicStatus | None, PublicStatus, EndReason | None]


TYPES = {
    ChangeType.SCHEDULED: EventExample("Interview scheduled", (None, PublicStatus.SCHEDULED, None)),
    ChangeType.STATUS_CHANGED: EventExample(
        "Interview status changed", (PublicStatus.IN_PROGRESS, PublicStatus.COMPLETED, EndReason.AGENT_REPORTED)
    ),
    ChangeType.AMENDED: EventExample(
        "Interview outcome corrected by the agent's report",
        (PublicStatus.FAILED, PublicStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
    ChangeType.UPDATED: EventExample(
        "Interview details changed; the status is the same",
        (PublicStatus.READY_TO_JOIN, PublicStatus.READY_TO_JOIN, None),
    ),
    ChangeType.RESULT_AVAILABLE: EventExample(
        "Result of an interview available: read it",
        (PublicStatus.COMPLETED, PublicStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
    ChangeType.TRANSCRIPT_AVAILABLE: EventExample(
        "Transcript of an attempt available: read it",
        (PublicStatus.COMPLETED, PublicStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
    ChangeType.PERSONAL_DATA_ERASED: EventExample(
        "Personal data erased: erase your copy too",
        (PublicStatus.COMPLETED, PublicStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
}


class InterviewEventData(Shape, extra="forbid"):
    """An interview's status. Get the interview for its details."""

    interview_id: uuid.UUID
    status: PublicStatus
    previous_status: PublicStatus | None = Field(description="null: newly scheduled")
    end_reason: EndReason | None
    attempt: int = Field(ge=1)
    sequence: int = Field(
        ge=1, description="Counts the interview's changes; ignore events with a lower one than you have seen"
    )


class InterviewEvent(Shape, extra="forbid"):
    """A change of an interview."""

    type: ChangeType
    timestamp: Instant = Field(description="When the change was made; the same in every retry")
    data: InterviewEventData


class AvailableEventData(InterviewEventData, extra="forbid"):
    """An interview of which there is something to read, whatever the sequence of the last event that you have seen."""

    path: str = Field(description="Where to read it")


class AvailableEvent(Shape, extra="forbid"):
    """A result or a transcript can be read. Sent again when there is more of it."""

    type: ChangeType
    timestamp: Instant = Field(description="When it was stored; the same in every retry")
    data: AvailableEventData


class TestedEndpoint(Shape, extra="forbid"):
    """The endpoint under test."""

    endpoint_id: uuid.UUID


class TestEvent(Shape, extra="forbid"):
    """The message that `POST /webhook-endpoints/{endpoint_id}/test` sends. It belongs to no interview."""

    type: Literal["webhook.test"]
    timestamp: Instant
    data: TestedEndpoint


MessageId = Annotated[str, Header(alias="webhook-id", description="The same in every retry: process it once")]
SentAt = Annotated[
    str, Header(alias="webhook-timestamp", description="When this attempt was sent, as Unix time in seconds")
]
Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and the base64 HMAC-SHA256; several, separated by spaces, during a secret rotation",
    ),
]


def send_event(
    event: Annotated[InterviewEvent, Body()],
    webhook_id: MessageId,
    webhook_timestamp: SentAt,
    webhook_signature: Signature,
) -> None:
    """Verify the raw body with a Standard Webhooks library and the endpoint's secret, and return 2xx at once.

    Other responses are retried for three days; 410 disables the endpoint. Deliveries can be repeated or out of order.
    """


def send_available(
    event: Annotated[AvailableEvent, Body()],
    webhook_id: MessageId,
    webhook_timestamp: SentAt,
    webhook_signature: Signature,
) -> None:
    """Signed, sent and retried like the other events. Get `path` with a key of the scope `interviews:read`."""


def send_test(
    event: Annotated[TestEvent, Body()], webhook_id: MessageId, webhook_timestamp: SentAt, webhook_signature: Signature
) -> None:
    """Signed and sent like any event, to test an endpoint before the first one."""


@cache
def webhooks() -> APIRouter:
    """Return the webhooks section of the document, one entry per event type."""
    router = APIRouter(tags=["webhooks"])
    for type_, event in TYPES.items():
        _add(router, type_, send_available if type_ in PATHS else send_event, event.summary)
    _add(router, TEST, send_test, "Test message")
    return router


def _add(router: APIRouter, type_: str, handler: Callable[..., None], summary: str) -> None:
    name = type_.title().replace("_", "").replace(".", "")
    router.add_api_route(
        type_,
        handler,
        methods=["POST"],
        status_code=204,
        operation_id=f"receive{name}",
        summary=summary,
        response_description="Any 2xx: delivered",
        responses={410: {"description": "Disables the endpoint"}},
    )


def example_of_event(type_: str) -> dict[str, object]:
    """Return an example event about the demo interview."""
    if type_ == TEST:
        return {"type": type_, "timestamp": AT, "data": {"endpointId": "5f0c3a52-3a43-4d0a-9d3a-9d8f1c1a7e10"}}
    previous, status, end_reason = TYPES[ChangeType(type_)].example
    change = Change(
        interview_id=DEMO_ID,
        sequence=1 if previous is None else 4,
        at=datetime.fromisoformat(AT),
        type=type_,
        attempt=1,
        status=status,
        previous_status=previous,
        end_reason=end_reason,
    )
    return payload_of(change)

"""What this service sends to webhook endpoints, for the OpenAPI document: the payload of app.interviews.changes."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Header
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.api.examples import AT
from app.api.fields import Instant, Shape
from app.interviews.changes import ChangeType
from app.interviews.demo import DEMO_ID
from app.interviews.shown import ShownStatus
from app.lifecycle import EndReason
from app.outgoing.message import TEST


@dataclass(frozen=True, slots=True)
class Told:
    """A type of event: what it says, and an example of its statuses before and after, with the end's reason."""

    summary: str
    example: tuple[ShownStatus | None, ShownStatus, EndReason | None]


TYPES = {
    ChangeType.SCHEDULED: Told("An interview was scheduled", (None, ShownStatus.SCHEDULED, None)),
    ChangeType.STATUS_CHANGED: Told(
        "An interview's status is another",
        (ShownStatus.IN_PROGRESS, ShownStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
    ChangeType.AMENDED: Told(
        "The agent's report has corrected an end that was told before",
        (ShownStatus.FAILED, ShownStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
    ChangeType.UPDATED: Told(
        "An interview's details or times are others; the status is the same",
        (ShownStatus.READY_TO_JOIN, ShownStatus.READY_TO_JOIN, None),
    ),
    ChangeType.PERSONAL_DATA_ERASED: Told(
        "An interview's personal data was erased: erase your copy too",
        (ShownStatus.COMPLETED, ShownStatus.COMPLETED, EndReason.AGENT_REPORTED),
    ),
}


class InterviewChange(Shape):
    """What has become of an interview. Who may read more asks for the interview."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    interview_id: uuid.UUID
    status: ShownStatus
    previous_status: ShownStatus | None = Field(description="null: it is new")
    end_reason: EndReason | None
    attempt: int = Field(ge=1)
    sequence: int = Field(ge=1, description="Counts the interview's changes: what has a lower one is older")


class InterviewEvent(Shape):
    """A change of an interview, as webhooks tell it."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    type: ChangeType
    timestamp: Instant = Field(description="When the change was made; repetitions of the delivery have the same")
    data: InterviewChange


class TestedEndpoint(Shape):
    """Which endpoint the test was asked for."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    endpoint_id: uuid.UUID


class TestEvent(Shape):
    """What `POST /webhook-endpoints/{endpoint_id}/test` has sent: of no interview."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    type: Literal["webhook.test"]
    timestamp: Instant
    data: TestedEndpoint


MessageId = Annotated[str, Header(alias="webhook-id", description="The same for each repetition: act on it once")]
SentAt = Annotated[
    str, Header(alias="webhook-timestamp", description="When this delivery was sent, in seconds since 1970")
]
Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and the base64 of the HMAC-SHA256; several, separated by spaces, while keys are rotated",
    ),
]


def tell(
    event: Annotated[InterviewEvent, Body()],
    webhook_id: MessageId,
    webhook_timestamp: SentAt,
    webhook_signature: Signature,
) -> None:
    """Verify the raw body with a library of Standard Webhooks and the endpoint's secret, and answer 2xx at once.

    Anything else is repeated for three days; 410 disables the endpoint. Deliveries may come twice and out of order.
    """


def tell_of_test(
    event: Annotated[TestEvent, Body()],
    webhook_id: MessageId,
    webhook_timestamp: SentAt,
    webhook_signature: Signature,
) -> None:
    """Signed and sent as all others are, so that an endpoint can be tried before anything happens."""


@cache
def webhooks() -> APIRouter:
    """Return the document's section of what is sent, one entry a type."""
    router = APIRouter(tags=["webhooks"])
    for type_, told in TYPES.items():
        _add(router, type_, tell, told.summary)
    _add(router, TEST, tell_of_test, "An endpoint is tried")
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
        response_description="Any 2xx: the delivery is taken",
        responses={410: {"description": "The endpoint is gone: it is disabled"}},
    )


def example_of_event(type_: str) -> dict[str, object]:
    """Return an event of the type, about the seed's interview."""
    if type_ == TEST:
        return {"type": type_, "timestamp": AT, "data": {"endpointId": "5f0c3a52-3a43-4d0a-9d3a-9d8f1c1a7e10"}}
    previous, status, end_reason = TYPES[ChangeType(type_)].example
    return {
        "type": type_,
        "timestamp": AT,
        "data": {
            "interviewId": str(DEMO_ID),
            "status": status,
            "previousStatus": previous,
            "endReason": end_reason,
            "attempt": 1,
            "sequence": 1 if previous is None else 4,
        },
    }

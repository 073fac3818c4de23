"""What this service sends to webhook endpoints, for the OpenAPI document: the payload of app.interviews.changes."""

import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Header
from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.api.examples import AT
from app.api.fields import Instant, Shape
from app.interviews.changes import ChangeType
from app.interviews.demo import DEMO_ID
from app.interviews.shown import ShownStatus
from app.lifecycle import EndReason


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


def tell(
    event: Annotated[InterviewEvent, Body()],
    webhook_id: Annotated[str, Header(alias="webhook-id", description="The same for each repetition: act on it once")],
    webhook_timestamp: Annotated[
        str, Header(alias="webhook-timestamp", description="When this delivery was sent, in seconds since 1970")
    ],
    webhook_signature: Annotated[
        str,
        Header(
            alias="webhook-signature",
            description="`v1,` and the base64 of the HMAC-SHA256; several, separated by spaces, while keys are rotated",
        ),
    ],
) -> None:
    """Verify the raw body with a library of Standard Webhooks and the endpoint's secret, and answer 2xx at once.

    Anything else is repeated for three days; 410 disables the endpoint. Deliveries may come twice and out of order.
    """


def webhooks() -> APIRouter:
    """Return the document's section of what is sent, one entry a type."""
    router = APIRouter(tags=["webhooks"])
    for type_, told in TYPES.items():
        _, name = type_.split(".")
        router.add_api_route(
            type_,
            tell,
            methods=["POST"],
            status_code=204,
            operation_id=f"receiveInterview{name.title().replace('_', '')}",
            summary=told.summary,
            response_description="Any 2xx: the delivery is taken",
            responses={410: {"description": "The endpoint is gone: it is disabled"}},
        )
    return router


def example_of_event(type_: str) -> dict[str, object]:
    """Return an event of the type, about the seed's interview."""
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

"""Models of webhook endpoints and deliveries."""

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AnyHttpUrl, Field, UrlConstraints, ValidationInfo, WithJsonSchema, field_validator

from app.api.types import GivenInstant, Instant, Shape, Text
from app.models import ChangeType
from app.models import DeliveryAttempt as AttemptRow
from app.models import WebhookEndpoint as EndpointRow
from app.webhooks.deliveries import DeliveryLog
from app.webhooks.payload import TEST, message_id
from app.webhooks.retry_policy import DeliveryState, DisabledReason

MAX_URL_LENGTH = 2000
MAX_SPAN = timedelta(days=31)

# Inline: the schema of a body that FastAPI does not read itself can't refer to components.
EventType = Annotated[ChangeType, WithJsonSchema({"type": "string", "enum": [each.value for each in ChangeType]})]
EventTypes = Annotated[
    list[EventType],
    Field(
        max_length=20,
        description="The event types to send; empty: all of them, including types of later releases",
        examples=[["interview.status_changed", "interview.amended"]],
    ),
]
Url = Annotated[
    AnyHttpUrl,
    UrlConstraints(max_length=MAX_URL_LENGTH),  # as sent: pydantic may append a slash
    Field(
        description="An https URL with public addresses; private addresses and http only if the operator allows them",
        examples=["https://hiring.example.com/webhooks/interviews"],
    ),
]
Description = Annotated[Text, Field(max_length=500, examples=["The applicant tracking system"])]


def _unsent() -> Any:
    """Return a default that the document does not show: a generated client would send it, and change the field."""


class NewWebhookEndpoint(Shape, extra="forbid"):
    """A URL to send the organization's changes to."""

    url: Url
    description: Description = ""
    event_types: EventTypes = Field(default_factory=list)


class WebhookEndpointUpdate(Shape, extra="forbid"):
    """Changes to an endpoint. Omitted fields stay. `enabled: true` clears a failure and resumes pending deliveries."""

    url: Url = Field(default_factory=_unsent)
    description: Description = Field(default_factory=_unsent)
    event_types: EventTypes = Field(default_factory=_unsent)
    enabled: bool = Field(default_factory=_unsent, strict=True)

    def changes(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(exclude_unset=True) | ({"url": str(self.url)} if "url" in self.model_fields_set else {})


class WebhookEndpoint(Shape):
    """A URL that receives the organization's changes."""

    endpoint_id: uuid.UUID = Field(examples=["5f0c3a52-3a43-4d0a-9d3a-9d8f1c1a7e10"])
    url: str = Field(examples=["https://hiring.example.com/webhooks/interviews"])
    description: str = Field(examples=["The applicant tracking system"])
    event_types: list[ChangeType] = Field(description="Empty: all types")
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="GONE: it returned 410. FAILING: all attempts failed for five days. MANUAL: disabled by API"
    )
    disabled_at: Instant | None
    failing_since: Instant | None = Field(description="The first failed attempt since the last success")
    previous_secret_until: Instant | None = Field(
        description="Until then messages are also signed with the previous secret"
    )
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, row: EndpointRow, **more: Any) -> Self:
        """`more` are the fields of a subclass."""
        return cls.copy_of(row, endpoint_id=row.id, enabled=row.disabled_at is None, **more)


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint with its new secret, which is shown only once."""

    secret: str = Field(
        description="`whsec_` and base64: store it to verify messages",
        examples=["whsec_bm90IGEgc2VjcmV0LCBidXQgdGhpcnR5LXR3byBieXRlcyE="],
    )


class WebhookEndpointPage(Shape):
    """A page of endpoints, newest first. nextCursor is null on the last page."""

    data: list[WebhookEndpoint]
    next_cursor: str | None


class DeliveryAttempt(Shape):
    """One attempt. Only the status code of the response is stored."""

    at: Instant
    duration: float = Field(description="seconds", examples=[0.124])
    status_code: int | None = Field(description="null: no response", examples=[503])
    error: str | None = Field(description="Why the attempt failed", examples=[None])

    @classmethod
    def of(cls, row: AttemptRow) -> "DeliveryAttempt":
        return cls.copy_of(row, duration=round(row.duration.total_seconds(), 3))


class Delivery(Shape):
    """A message to one endpoint and its attempts. webhookId is the header webhook-id."""

    delivery_id: uuid.UUID
    webhook_id: str = Field(examples=["msg_c6aec8f5592b4b90b7fda6a6404b31f9_3"])
    type: str = Field(examples=["interview.status_changed"])
    interview_id: uuid.UUID | None = Field(description="null for a test")
    sequence: int | None = Field(description="The sequence of the interview's change; null for a test")
    state: DeliveryState
    created_at: Instant
    next_attempt_at: Instant | None = Field(description="null: no further attempt")
    finished_at: Instant | None
    attempts: list[DeliveryAttempt] = Field(description="The latest twenty, oldest first")

    @classmethod
    def of(cls, logged: DeliveryLog) -> "Delivery":
        row, change = logged.delivery, logged.change
        return cls.copy_of(
            row,
            delivery_id=row.id,
            webhook_id=message_id(row, change),
            type=change.type if change else TEST,
            interview_id=change.interview_id if change else None,
            sequence=change.sequence if change else None,
            next_attempt_at=row.next_attempt_at if row.state == DeliveryState.PENDING else None,
            attempts=[DeliveryAttempt.of(each) for each in logged.attempts],
        )


class DeliveryPage(Shape):
    """A page of deliveries, newest first. nextCursor is null on the last page."""

    data: list[Delivery]
    next_cursor: str | None


class ReplaySpan(Shape, extra="forbid"):
    """A time span of at most 31 days, including `from` and excluding `to`."""

    since: GivenInstant = Field(alias="from", examples=["2026-11-22T09:00:00Z"])
    until: GivenInstant = Field(alias="to", examples=["2026-11-22T12:00:00Z"])

    @field_validator("until")
    @classmethod
    def _ends_after_it_begins(cls, value: datetime, info: ValidationInfo) -> datetime:
        since = info.data.get("since")
        if since and value <= since:
            raise ValueError("must be after from")
        if since and value - since > MAX_SPAN:
            raise ValueError(f"must be at most {MAX_SPAN.days} days after from")
        return value


class ReplayResult(Shape):
    """The number of changes enqueued again, without those already pending."""

    enqueued: int = Field(examples=[42])

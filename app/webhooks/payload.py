"""The message of a delivery: the same bytes and the same id each time that it is sent."""

import orjson

from app.core.timestamps import rfc3339
from app.models import Change, Delivery

TEST = "webhook.test"


def payload_of(change: Change) -> dict[str, object]:
    """Return what listeners and webhooks are told of a change: thin, in the form that Standard Webhooks recommends.

    Names, phone numbers and results are not in it: who may read them asks for the interview.
    """
    return {
        "type": change.type,
        "timestamp": rfc3339(change.at),
        "data": {
            "interviewId": str(change.interview_id),
            "status": change.status,
            "previousStatus": change.previous_status,
            "endReason": change.end_reason,
            "attempt": change.attempt,
            "sequence": change.sequence,
        },
    }


def message_id(delivery: Delivery, change: Change | None) -> str:
    """Return webhook-id: it names what happened, so it stays through retries and replays, and at every endpoint.

    The specification has it so, for receivers to tell by it what they have dealt with already.
    """
    return f"msg_{change.interview_id.hex}_{change.sequence}" if change else f"msg_{delivery.id.hex}"


def body_of(delivery: Delivery, change: Change | None) -> bytes:
    """Return the message's JSON. It is made of rows that never change."""
    return orjson.dumps(payload_of(change) if change else _test(delivery))


def _test(delivery: Delivery) -> dict[str, object]:
    data = {"endpointId": str(delivery.endpoint_id)}
    return {"type": TEST, "timestamp": rfc3339(delivery.created_at), "data": data}

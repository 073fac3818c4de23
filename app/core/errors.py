"""The errors that callers get: each has a stable code, an HTTP status, a title and a sentence that says what to do."""

from collections.abc import Mapping
from typing import ClassVar

BEARER = {"WWW-Authenticate": "Bearer"}


class AppError(Exception):
    """An error with a text for the caller. `extra` becomes further members of the problem document."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    detail: ClassVar[str]
    response_headers: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[dict[str, object]] = {}  # of `extra`, for the OpenAPI document

    def __init__(self, detail: str | None = None, *, headers: dict[str, str] | None = None, **extra: object) -> None:
        self.sentence = detail or self.detail
        self.headers = {**self.response_headers, **(headers or {})}
        self.extra = extra
        super().__init__(self.sentence)


class Refused(AppError):
    """A refusal that is recorded: the transaction that raises it is committed."""


class Unauthorized(AppError):
    code, status, title = "unauthorized", 401, "No valid API key"
    detail = "Send a valid API key as 'Authorization: Bearer ik_...'."
    response_headers = BEARER


class MissingScope(AppError):
    code, status, title = "missing_scope", 403, "The API key lacks the scope"
    detail = "Use an API key with the scope of this call."


class InterviewNotFound(AppError):
    code, status, title = "interview_not_found", 404, "Interview not found"
    detail = "No interview of your organization has this id. Check the id and the API key."


class InterviewNotFoundByCandidate(InterviewNotFound):
    """The same for a candidate, who has a link and no API key."""

    detail = "No interview has this id. Check the link."


class TooEarly(Refused):
    code, status, title = "too_early", 409, "The interview is not open yet"
    detail = "Join again at the time in 'opensAt'."
    example: ClassVar = {"opensAt": "2026-11-22T09:00:00Z"}


class InterviewOver(Refused):
    code, status, title = "interview_over", 409, "The interview is over"
    detail = "The interview has ended, so nobody can join it. Ask the recruiter for a new interview."


class PhoneNumberRequired(Refused):
    code, status, title = "phone_number_required", 401, "A phone number is required to join"
    detail = "Ask the candidate for the phone number in the application, and send it as 'phoneNumber'."
    response_headers = BEARER  # an invite is accepted too


class WrongPhoneNumber(Refused):
    code, status, title = "wrong_phone_number", 403, "The phone number does not match"
    detail = (
        "Enter the phone number in the application, or ask the recruiter for an invitation link. Tries are limited."
    )


class PhoneNumberUnreadable(Refused):
    code, status, title = "phone_number_unreadable", 422, "The phone number can't be read"
    detail = 'Correct the phone number: the character "E" at position 10 can\'t be part of it.'
    example: ClassVar = {
        "errors": [
            {
                "field": "phoneNumber",
                "message": 'must be a phone number: the character "E" at position 10 can\'t be part of it',
            }
        ]
    }

    def __init__(self, reason: str) -> None:
        errors = [{"field": "phoneNumber", "message": f"must be a phone number: {reason}"}]
        super().__init__(f"Correct the phone number: {reason}.", errors=errors)


class PhoneNumberUnusable(Refused):
    code, status, title = "phone_number_unusable", 403, "The phone number on file can't be checked"
    detail = "Ask the recruiter to add the country code to the interview's phone number, or for an invitation link."


class InviteRequired(Refused):
    code, status, title = "invite_required", 401, "An invitation is required to join"
    detail = "Send the secret of the invitation link as 'invite', or as 'Authorization: Bearer inv_...'."
    response_headers = BEARER


class InviteInvalid(Refused):
    code, status, title = "invite_invalid", 403, "The invitation is not valid"
    detail = "Open the newest invitation link, or ask the recruiter for a new one. Tries are limited."


class TooManyTries(Refused):
    code, status, title = "too_many_tries", 429, "Too many failed tries to join"
    detail = "Try again after Retry-After seconds, or ask the recruiter for an invitation link: it works at once."


class RateLimited(AppError):
    code, status, title = "rate_limited", 429, "Too many requests"
    detail = (
        "Try again after Retry-After seconds, and call less often. The RateLimit header has the calls that are left."
    )

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after)})


class InterviewErased(AppError):
    code, status, title = "interview_erased", 410, "The interview's personal data was erased"
    detail = (
        "An erased interview can't be joined, reopened or changed, and its transcript and checkpoint are gone. To "
        "interview again, schedule a new one."
    )


class InterviewNotOver(AppError):
    code, status, title = "interview_not_over", 409, "The interview is not over"
    detail = "Only an interview that is over can be reopened. To start it again, cancel it first."


class NotStarted(AppError):
    code, status, title = "not_started", 409, "The conversation has not started"
    detail = "Report the outcome after candidate and agent were both in the room."


class WrongRoom(AppError):
    code, status, title = "wrong_room", 409, "The room is not that of the current attempt"
    detail = (
        "Send the name of the agent's room. If it is an earlier attempt's, nothing is accepted for it any more; "
        "'roomName' is the current one."
    )


class NoCheckpoint(AppError):
    code, status, title = "no_checkpoint", 404, "The attempt has no checkpoint"
    detail = "Begin the interview from its start: no agent has stored a checkpoint in this attempt."


class CheckpointOutdated(AppError):
    code, status, title = "checkpoint_outdated", 409, "A newer checkpoint is stored"
    detail = "Raise the sequence with each checkpoint; repeat the last only unchanged. 'sequence' is the stored one's."
    example: ClassVar = {"sequence": 7}


class AgentReplaced(AppError):
    code, status, title = "agent_replaced", 409, "Another agent has taken over"
    detail = "Leave the room without an outcome: another agent has stored a checkpoint since yours."


class TranscriptFull(AppError):
    code, status, title = "transcript_full", 409, "The transcript has too many lines"
    detail = "Append no more lines: the attempt's transcript has reached its limit."


class TokenIssued(AppError):
    code, status, title = "token_issued", 409, "The candidate already has an access token"
    detail = "The candidateId can't change after a token was issued. Cancel the interview and schedule a new one."


class PreconditionFailed(AppError):
    code, status, title = "precondition_failed", 412, "The interview has changed"
    detail = "Get the interview again, check that your change still applies, and send it with the new ETag."


class IdempotencyKeyReused(AppError):
    code, status, title = "idempotency_key_reused", 409, "The Idempotency-Key was used for a different request"
    detail = "Use a new Idempotency-Key for each new request, and the same one only to retry an identical request."


class PayloadInvalid(AppError):
    code, status, title = "payload_invalid", 422, "The request is not valid"
    detail = "Correct the fields named in 'errors' and send the request again."
    example: ClassVar = {"errors": [{"field": "maxDuration", "message": "must be 60 or more"}]}


class CursorInvalid(AppError):
    code, status, title = "cursor_invalid", 422, "The cursor is not valid"
    detail = "Send the nextCursor of the previous page unchanged, or no cursor to start from the first page."


class TokenTooLarge(AppError):
    code, status, title = "token_too_large", 422, "The interview's texts do not fit into an access token"
    detail = "Shorten the instructions or the other texts: the LiveKit access token contains all of them."


class TokenFieldNotAllowed(AppError):
    code, status, title = "token_field_not_allowed", 422, "The client can't choose the token's contents"
    detail = "Leave out the fields named in 'errors': the interview sets room, identity, name, metadata and agent."
    example: ClassVar = {"errors": [{"field": "room_name", "message": "must equal the interview's value"}]}


class WebhookNotSigned(AppError):
    code, status, title = "webhook_not_signed", 401, "The webhook is not signed by a known LiveKit key"
    detail = "Set webhook.api_key in LiveKit's configuration to our LIVEKIT_API_KEY, and compare the secrets."


class WebhookEndpointNotFound(AppError):
    code, status, title = "webhook_endpoint_not_found", 404, "Webhook endpoint not found"
    detail = "No webhook endpoint of your organization has this id. Check the id and the API key."


class DeliveryNotFound(AppError):
    code, status, title = "delivery_not_found", 404, "Delivery not found"
    detail = "This endpoint has no delivery with this id. Check the id; finished deliveries are deleted after 30 days."


class WebhookTargetRefused(AppError):
    code, status, title = "webhook_target_refused", 422, "Webhooks can't be sent to this URL"
    detail = "Use an https URL whose host has only public addresses."


class WebhookEndpointDisabled(AppError):
    code, status, title = "webhook_endpoint_disabled", 409, "The webhook endpoint is disabled"
    detail = "Enable it first: PATCH it with enabled true. Pending deliveries then continue."


class TooManyWebhookEndpoints(AppError):
    code, status, title = "too_many_webhook_endpoints", 409, "Too many webhook endpoints"
    detail = "Delete an endpoint that you no longer need."


class ReplayTooLarge(AppError):
    code, status, title = "replay_too_large", 422, "Too many changes to replay"
    detail = "Replay a shorter time span, and the rest in further calls."


class BodyTooLarge(AppError):
    code, status, title = "body_too_large", 413, "The request body is too large"
    detail = "Send a smaller body."


class RequestTooSlow(AppError):
    code, status, title = "request_too_slow", 408, "The request did not arrive in time"
    detail = "Send the request faster, or over a better connection."


class HeadersTooLarge(AppError):
    code, status, title = "headers_too_large", 431, "The request's URL and headers are too large"
    detail = "Send a shorter URL or smaller headers."


class RequestInvalid(AppError):
    code, status, title = "request_invalid", 400, "Not a valid HTTP request"
    detail = "Send the request as HTTP/1.1."


class HostNotAllowed(AppError):
    code, status, title = "host_not_allowed", 421, "A local start does not answer to this host name"
    detail = (
        "Use localhost or 127.0.0.1: under a name of its own, any web page could read a local start's answers. "
        "To use another name, such as a tunnel's, add its origin to ALLOWED_ORIGINS: https://name."
    )


class WebhookInvalid(AppError):
    code, status, title = "webhook_invalid", 400, "The webhook's body is not a LiveKit event"
    detail = "Send a LiveKit event as a JSON object."


class DatabaseUnavailable(AppError):
    code, status, title = "database_unavailable", 503, "The database is unavailable"
    detail = "Try again in a few seconds."
    response_headers: ClassVar = {"Retry-After": "2"}


class BootstrapKeyTaken(Exception):
    """BOOTSTRAP_API_KEY is stored under a different name; the operator reads it at startup."""


class SchemaBehind(AppError):
    code, status, title = "schema_behind", 503, "The database schema is older than the code"
    detail = "Run 'interviews migrate' with the same DATABASE_URL."


class InternalError(AppError):
    code, status, title = "internal_error", 500, "Internal error"
    detail = "Try again. If it fails again, send the requestId to the operator."

"""The errors that callers get: each has a stable code, an HTTP status and a sentence that tells what to do."""

from typing import ClassVar


class AppError(Exception):
    """An error for the person who gets it. `extra` becomes further members of the problem document."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    detail: ClassVar[str]
    example: ClassVar[dict[str, object]] = {}
    """What `extra` holds, for the OpenAPI document."""

    def __init__(self, detail: str | None = None, *, headers: dict[str, str] | None = None, **extra: object) -> None:
        self.sentence = detail or self.detail
        self.headers = headers or {}
        self.extra = extra
        super().__init__(self.sentence)


class Refused(AppError):
    """A refusal that is itself recorded: the transaction in which it is raised is committed."""


class Unauthorized(AppError):
    code, status, title = "unauthorized", 401, "No valid API key"
    detail = "Send a valid API key as 'Authorization: Bearer ik_...'."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class MissingScope(AppError):
    code, status, title = "missing_scope", 403, "The API key may not do this"
    detail = "Use an API key with the scope that this call needs."


class InterviewNotFound(AppError):
    code, status, title = "interview_not_found", 404, "No such interview"
    detail = "There is no interview with this id. Check the id, and that the API key belongs to its organization."


class TooEarly(Refused):
    code, status, title = "too_early", 409, "The interview is not open yet"
    detail = "Join again at opensAt."
    example: ClassVar = {"opensAt": "2026-11-22T09:00:00Z"}


class InterviewOver(Refused):
    code, status, title = "interview_over", 409, "The interview is over"
    detail = "The interview has ended and can't be joined any more. Ask the recruiter to schedule another one."


class PhoneNumberRequired(Refused):
    code, status, title = "phone_number_required", 401, "A phone number is needed to join"
    detail = "Ask the candidate for the phone number of the application, and send it as 'phoneNumber'."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})  # an invite opens this door too


class WrongPhoneNumber(Refused):
    code, status, title = "wrong_phone_number", 403, "Not the phone number of the application"
    detail = "Let the candidate correct the number, or ask the recruiter for an invitation link. Tries are limited."


class PhoneNumberUnusable(Refused):
    code, status, title = "phone_number_unusable", 403, "The phone number on file can't be compared"
    detail = "Ask the recruiter to correct the interview's phone number, country code included, or for an invitation."


class InviteRequired(Refused):
    code, status, title = "invite_required", 401, "An invitation is needed to join"
    detail = "Send the secret of the invitation link as 'invite', or as 'Authorization: Bearer inv_...'."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class InviteInvalid(Refused):
    code, status, title = "invite_invalid", 403, "The invitation is not valid"
    detail = "Open the newest invitation link, or ask the recruiter for another one. Tries are limited."


class TooManyTries(Refused):
    code, status, title = "too_many_tries", 429, "Too many wrong tries to join"
    detail = "Try again after Retry-After seconds, or ask the recruiter for an invitation link: that is let in at once."


class RateLimited(AppError):
    code, status, title = "rate_limited", 429, "Too many calls"
    detail = "Call again after Retry-After seconds, and less often: RateLimit tells how many calls may still come."

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after)})


class InterviewErased(AppError):
    code, status, title = "interview_erased", 410, "The interview's personal data was erased"
    detail = "Nobody can join, open or change it any more. Schedule another interview."


class InterviewNotOver(AppError):
    code, status, title = "interview_not_over", 409, "The interview is not over"
    detail = "Only an interview that is over can be opened again. Cancel it first, if it is to begin anew."


class NotStarted(AppError):
    code, status, title = "not_started", 409, "The conversation has not started"
    detail = "Report the outcome once candidate and agent were both in the room."


class WrongRoom(AppError):
    code, status, title = "wrong_room", 409, "Not the room of the current attempt"
    detail = "Name the room that the agent was in. What is reported of an attempt counts until the next one opens."


class TokenIssued(AppError):
    code, status, title = "token_issued", 409, "The candidate has got an access token already"
    detail = "The candidateId stays as it is once a token was issued. Cancel the interview and schedule another one."


class PreconditionFailed(AppError):
    code, status, title = "precondition_failed", 412, "The interview was changed meanwhile"
    detail = "Read the interview again, see whether your change still fits, and send it with the new ETag."


class IdempotencyKeyReused(AppError):
    code, status, title = "idempotency_key_reused", 409, "The Idempotency-Key was used for another call"
    detail = "Send a new Idempotency-Key with each new call, and the same one only when you repeat a call as it was."


class PayloadInvalid(AppError):
    code, status, title = "payload_invalid", 422, "The request is not valid"
    detail = "Correct the fields named in 'errors' and send the request again."
    example: ClassVar = {"errors": [{"field": "maxDuration", "message": "Input should be greater than or equal to 60"}]}


class CursorInvalid(AppError):
    code, status, title = "cursor_invalid", 422, "The cursor is not valid"
    detail = "Send the nextCursor of the page before, as it was, or leave the cursor out to begin anew."


class TokenTooLarge(AppError):
    code, status, title = "token_too_large", 422, "The interview's texts are too long for an access token"
    detail = "Shorten the instructions or the other texts: all of them travel inside the LiveKit access token."


class TokenFieldNotAllowed(AppError):
    code, status, title = "token_field_not_allowed", 422, "The client may not say what the token holds"
    detail = "Leave out the fields named in 'errors': the interview decides room, identity, name, metadata and agent."
    example: ClassVar = {
        "errors": [{"field": "room_name", "message": "must be left out, or be what the interview has"}]
    }


class WebhookNotSigned(AppError):
    code, status, title = "webhook_not_signed", 401, "Not signed by a known LiveKit key"
    detail = "Configure LiveKit's webhook.api_key to be LIVEKIT_API_KEY of this service, and compare the two secrets."


class WebhookEndpointNotFound(AppError):
    code, status, title = "webhook_endpoint_not_found", 404, "No such webhook endpoint"
    detail = (
        "There is no webhook endpoint with this id. Check the id, and that the API key belongs to its organization."
    )


class DeliveryNotFound(AppError):
    code, status, title = "delivery_not_found", 404, "No such delivery"
    detail = "This endpoint has no delivery with this id. Finished ones are kept for 30 days."


class WebhookTargetRefused(AppError):
    code, status, title = "webhook_target_refused", 422, "No webhook is sent to this address"
    detail = "Give an https URL whose host has public addresses only."


class WebhookEndpointDisabled(AppError):
    code, status, title = "webhook_endpoint_disabled", 409, "The webhook endpoint is disabled"
    detail = "Enable it first: PATCH it with enabled true. What is pending then goes on."


class TooManyWebhookEndpoints(AppError):
    code, status, title = "too_many_webhook_endpoints", 409, "Too many webhook endpoints"
    detail = "Delete an endpoint that is not needed any more."


class ReplayTooLarge(AppError):
    code, status, title = "replay_too_large", 422, "The span has too many changes"
    detail = "Replay a shorter span, and the rest after it."


class BodyTooLarge(AppError):
    code, status, title = "body_too_large", 413, "The request's body is too large"
    detail = "Send a smaller body."


class RequestTooSlow(AppError):
    code, status, title = "request_too_slow", 408, "The request did not arrive in time"
    detail = "Send the request faster, or over a better connection."


class HeadersTooLarge(AppError):
    code, status, title = "headers_too_large", 431, "The request's address and headers are too large"
    detail = "Send smaller headers."


class RequestInvalid(AppError):
    code, status, title = "request_invalid", 400, "This is no HTTP request"
    detail = "Send the request as HTTP/1.1."


class WebhookInvalid(AppError):
    code, status, title = "webhook_invalid", 400, "The webhook's body is not a LiveKit event"
    detail = "Send the event as a JSON object, as LiveKit does."


class DatabaseUnavailable(AppError):
    code, status, title = "database_unavailable", 503, "The database does not answer"
    detail = "Try again in a few seconds."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class BootstrapKeyTaken(Exception):
    """BOOTSTRAP_API_KEY goes by another name already: for the operator, at the start."""


class SchemaBehind(AppError):
    code, status, title = "schema_behind", 503, "The database's schema is older than the code"
    detail = "Run 'interviews migrate' against the same DATABASE_URL."


class InternalError(AppError):
    code, status, title = "internal_error", 500, "Something went wrong on our side"
    detail = "Try again. If it stays so, tell the operator the requestId."

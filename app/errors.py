"""The errors that callers get: each has a stable code, an HTTP status and a sentence that tells what to do."""

from typing import ClassVar


class AppError(Exception):
    """An error for the person who gets it. `extra` becomes further members of the problem document."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    detail: ClassVar[str]

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


class InterviewOver(Refused):
    code, status, title = "interview_over", 409, "The interview is over"
    detail = "The interview has ended and can't be joined any more. Ask the recruiter to schedule another one."


class InterviewNotOver(AppError):
    code, status, title = "interview_not_over", 409, "The interview is not over"
    detail = "Only an interview that is over can be opened again. Cancel it first, if it is to begin anew."


class NotStarted(AppError):
    code, status, title = "not_started", 409, "The conversation has not started"
    detail = "Report the outcome once candidate and agent were both in the room."


class WrongRoom(AppError):
    code, status, title = "wrong_room", 409, "Not the room of the current attempt"
    detail = "Name the room that the agent was in. What is reported of an attempt counts until the next one opens."


class PayloadInvalid(AppError):
    code, status, title = "payload_invalid", 422, "The request is not valid"
    detail = "Correct the fields named in 'errors' and send the request again."


class CursorInvalid(AppError):
    code, status, title = "cursor_invalid", 422, "The cursor is not valid"
    detail = "Send the nextCursor of the page before, as it was, or leave the cursor out to begin anew."


class TokenTooLarge(AppError):
    code, status, title = "token_too_large", 422, "The interview's texts are too long for an access token"
    detail = "Shorten the instructions or the other texts: all of them travel inside the LiveKit access token."


class WebhookNotSigned(AppError):
    code, status, title = "webhook_not_signed", 401, "Not signed by a known LiveKit key"
    detail = "Configure LiveKit's webhook.api_key to be LIVEKIT_API_KEY of this service, and compare the two secrets."


class BodyTooLarge(AppError):
    code, status, title = "body_too_large", 413, "The request's body is too large"
    detail = "Send a smaller body."


class RequestTooSlow(AppError):
    code, status, title = "request_too_slow", 408, "The request's body did not arrive in time"
    detail = "Send the body faster, or over a better connection."

    def __init__(self) -> None:
        super().__init__(headers={"Connection": "close"})


class WebhookInvalid(AppError):
    code, status, title = "webhook_invalid", 400, "The webhook's body is not a LiveKit event"
    detail = "Send the event as a JSON object, as LiveKit does."


class DatabaseUnavailable(AppError):
    code, status, title = "database_unavailable", 503, "The database does not answer"
    detail = "Try again in a few seconds."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class SchemaBehind(AppError):
    code, status, title = "schema_behind", 503, "The database's schema is older than the code"
    detail = "Run 'interviews migrate' against the same DATABASE_URL."

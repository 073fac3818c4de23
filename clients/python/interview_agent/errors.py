"""Everything that this package raises of its own."""

from collections.abc import Sequence


class InterviewAgentError(Exception):
    """The base of this package's errors."""


class FieldsError(InterviewAgentError):
    """Data from outside lacks fields or has fields of a wrong type. `problems` has one sentence for each."""

    subject = "The data"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"{self.subject} cannot be read: {'; '.join(problems)}.")
        self.problems = tuple(problems)


class MetadataError(FieldsError):
    """A participant's metadata is not an interview's."""

    subject = "The participant's metadata"


class PlanError(FieldsError):
    """The interview's context does not have the shape of an InterviewPlan."""

    subject = "The interview's context"


class CandidateMissing(InterviewAgentError):
    """The room closed, or the wait was over, before the candidate came."""


class ServiceError(InterviewAgentError):
    """The service refused a call. Repeating the same call does not help.

    `status` is the HTTP status, `code` the service's stable name of the error (for example `wrong_room`), `detail` its
    sentence, `request_id` what an operator finds in the log.
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str | None) -> None:
        super().__init__(f"{status} {code}: {detail}" + (f" (request {request_id})" if request_id else ""))
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id


class InvalidRequest(ServiceError):
    """400, 413, 422: the service cannot read what was sent."""


class Unauthorized(ServiceError):
    """401: the API key is missing, wrong or revoked."""


class Forbidden(ServiceError):
    """403: the API key lacks the scope `agent`."""


class NotFound(ServiceError):
    """404: the organization of this API key has no such interview."""


class Conflict(ServiceError):
    """409: the interview is in another state, or another agent has taken over. `code` says which."""


class Gone(ServiceError):
    """410: the interview's personal data has been erased."""


class ServiceUnavailable(InterviewAgentError):
    """The service did not answer, or answered 429 or 5xx, until the time for retries was over.

    The call may have taken effect. All calls of this package may be repeated safely.
    """


BY_STATUS: dict[int, type[ServiceError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: InvalidRequest,
    422: InvalidRequest,
}

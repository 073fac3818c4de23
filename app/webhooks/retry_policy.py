"""What a response means for its delivery and its endpoint, by the Standard Webhooks specification. No I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# The specification's schedule: ten attempts, the last some 75 hours after the first.
_HOURS = (2, 5, 10, 14, 20, 24)
BACKOFF = timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), *(timedelta(hours=n) for n in _HOURS)
JITTER = 0.1  # up to this fraction longer or shorter
MAX_RETRY_AFTER = timedelta(hours=24)  # for one delivery
MAX_PAUSE = timedelta(hours=1)  # for all deliveries to an endpoint
DISABLE_AFTER = timedelta(days=5)
MIN_FAILURES = 10  # attempts, so that an endpoint with few events is not disabled after two of them
RETRY_AFTER_STATUSES = (429, 503)
GONE = 410


class DeliveryState(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class DisabledReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    GONE = "GONE"
    """It answered 410."""
    FAILING = "FAILING"
    """Every attempt of five days has failed, at least ten."""
    MANUAL = "MANUAL"


@dataclass(frozen=True, slots=True)
class DeliveryResponse:
    """The result of an attempt: a status code, or an error that says why there is no status."""

    at: datetime
    duration: timedelta
    status_code: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The delivery's next state. Nothing is sent to the endpoint before `paused_until`."""

    state: DeliveryState
    next_attempt_at: datetime
    paused_until: datetime | None = None


def decide_retry(response: DeliveryResponse, *, attempts: int, now: datetime, chance: float) -> RetryDecision:
    """Return what follows from the last of `attempts` attempts. `chance`, 0 to 1, is a random number for the jitter.

    Retry-After may lengthen the backoff but not shorten it, which would use up the attempts in seconds.
    """
    if response.is_success:
        return RetryDecision(DeliveryState.DELIVERED, now)
    retry_after = response.retry_after if response.status_code in RETRY_AFTER_STATUSES else None
    paused_until = now + min(retry_after, MAX_PAUSE) if retry_after else None
    if attempts > len(BACKOFF):
        return RetryDecision(DeliveryState.FAILED, now, paused_until)
    wait = BACKOFF[attempts - 1] * (1 + JITTER * (2 * chance - 1))
    wait = max(wait, min(retry_after or timedelta(), MAX_RETRY_AFTER))
    return RetryDecision(DeliveryState.PENDING, now + wait, paused_until)


def disabled_reason(
    response: DeliveryResponse, *, failures: int, failing_since: datetime | None, now: datetime
) -> DisabledReason | None:
    """Return why to disable an endpoint after a failure, or None. `failures` includes this one."""
    if response.status_code == GONE:
        return DisabledReason.GONE
    is_long = failing_since is not None and now - failing_since >= DISABLE_AFTER
    return DisabledReason.FAILING if is_long and failures >= MIN_FAILURES else None

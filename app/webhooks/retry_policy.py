"""What an answer means for its delivery and its endpoint: pure, by the Standard Webhooks specification."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# The specification's schedule: ten tries, the last some 75 hours after the first.
BACKOFF = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
JITTER = 0.1  # a wait is up to this part longer or shorter, lest all come back at once
LONGEST_WAIT = timedelta(hours=24)  # that a receiver may ask for, for one delivery
LONGEST_PAUSE = timedelta(hours=1)  # that a receiver may ask for, for all of them
LONG_FAILURE = timedelta(days=5)
FEWEST_FAILURES = 10  # tries; an endpoint that hears little is not given up after two of them
ASKING_FOR_TIME = (429, 503)
GONE = 410


class DeliveryState(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class DisabledReason(StrEnum):
    """Why an endpoint is told nothing."""

    GONE = "GONE"
    """It answered 410."""
    FAILING = "FAILING"
    """Every try of five days has failed, and ten at least."""
    MANUAL = "MANUAL"


@dataclass(frozen=True, slots=True)
class DeliveryResponse:
    """What came of a try: a status, or an error that says why there is none."""

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
    """What becomes of the delivery; `paused_until`: the receiver wants nothing before."""

    state: DeliveryState
    next_attempt_at: datetime
    paused_until: datetime | None = None


def decide_retry(answer: DeliveryResponse, *, attempts: int, now: datetime, chance: float) -> RetryDecision:
    """Return the verdict on the latest of `attempts` tries. `chance`, 0 to 1, is the jitter's.

    A receiver may ask for more time than the schedule gives, never for less: it would use up the tries in seconds.
    """
    if answer.is_success:
        return RetryDecision(DeliveryState.DELIVERED, now)
    asked = answer.retry_after if answer.status_code in ASKING_FOR_TIME else None
    paused_until = now + min(asked, LONGEST_PAUSE) if asked else None
    if attempts > len(BACKOFF):
        return RetryDecision(DeliveryState.FAILED, now, paused_until)
    wait = BACKOFF[attempts - 1] * (1 + JITTER * (2 * chance - 1))
    wait = max(wait, min(asked or timedelta(), LONGEST_WAIT))
    return RetryDecision(DeliveryState.PENDING, now + wait, paused_until)


def disabled_reason_of(
    answer: DeliveryResponse, *, failures: int, failing_since: datetime | None, now: datetime
) -> DisabledReason | None:
    """Return why an endpoint is disabled after a failure, None if it is not. `failures` counts this one."""
    if answer.status_code == GONE:
        return DisabledReason.GONE
    is_long = failing_since is not None and now - failing_since >= LONG_FAILURE
    return DisabledReason.FAILING if is_long and failures >= FEWEST_FAILURES else None

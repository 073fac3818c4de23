"""What follows from a response: the specification's table and schedule."""

from datetime import UTC, datetime, timedelta

import pytest

from app.webhooks.retry_policy import (
    BACKOFF,
    DISABLE_AFTER,
    MAX_PAUSE,
    MIN_FAILURES,
    DeliveryResponse,
    DeliveryState,
    DisabledReason,
    decide_retry,
    disabled_reason,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SCHEDULE = [0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105]  # the specification's, in seconds


def answer(code: int | None = 500, *, retry_after: float | None = None) -> DeliveryResponse:
    asked = None if retry_after is None else timedelta(seconds=retry_after)
    return DeliveryResponse(NOW, timedelta(), code, None if code else "No answer.", asked)


@pytest.mark.parametrize("code", [200, 204, 299])
def test_2xx_is_delivered(code: int) -> None:
    assert decide_retry(answer(code), attempts=1, now=NOW, chance=0.5).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("code", [None, 199, 300, 302, 400, 404, 410, 429, 500, 502, 503, 504])
def test_everything_else_is_retried(code: int | None) -> None:
    assert decide_retry(answer(code), attempts=1, now=NOW, chance=0.5).state is DeliveryState.PENDING


def test_the_backoff_is_that_of_the_specification() -> None:
    at = NOW
    passed = [0.0]
    for attempts in range(1, 10):
        decision = decide_retry(answer(), attempts=attempts, now=at, chance=0.5)
        assert decision.state is DeliveryState.PENDING
        at = decision.next_attempt_at
        passed.append((at - NOW).total_seconds())
    assert passed == SCHEDULE
    assert decide_retry(answer(), attempts=10, now=at, chance=0.5).state is DeliveryState.FAILED


@pytest.mark.parametrize("attempts", range(1, len(BACKOFF) + 1))
def test_jitter_is_a_tenth_both_ways(attempts: int) -> None:
    delays = [
        decide_retry(answer(), attempts=attempts, now=NOW, chance=chance).next_attempt_at - NOW for chance in (0, 1)
    ]
    assert delays == [BACKOFF[attempts - 1] * 0.9, BACKOFF[attempts - 1] * 1.1]


@pytest.mark.parametrize(
    ("code", "attempts", "asked", "delays"),
    [
        (429, 1, 600, 600),
        (503, 1, 600, 600),
        (429, 3, 1, 1800),  # never sooner than by the schedule: the tries would be used up in seconds
        (429, 1, 10**9, 86_400),
        (429, 1, 0, 5),
        (500, 1, 600, 5),
        (404, 1, 600, 5),
    ],
)
def test_retry_after(code: int, attempts: int, asked: int, delays: int) -> None:
    decision = decide_retry(answer(code, retry_after=asked), attempts=attempts, now=NOW, chance=0.5)
    assert decision.next_attempt_at - NOW == timedelta(seconds=delays)


@pytest.mark.parametrize(("code", "asked", "pauses"), [(429, 60, 60), (503, 10**9, None), (500, 60, 0), (429, 0, 0)])
def test_retry_after_pauses_the_endpoint(code: int, asked: int, pauses: int | None) -> None:
    paused_until = decide_retry(answer(code, retry_after=asked), attempts=1, now=NOW, chance=0.5).paused_until
    wanted = MAX_PAUSE if pauses is None else timedelta(seconds=pauses)
    assert paused_until == (NOW + wanted if wanted else None)


def test_410_disables_at_once() -> None:
    assert disabled_reason(answer(410), failures=1, failing_since=NOW, now=NOW) is DisabledReason.GONE


@pytest.mark.parametrize(
    ("failures", "since", "disabled"),
    [
        (MIN_FAILURES, DISABLE_AFTER, True),
        (MIN_FAILURES - 1, DISABLE_AFTER, False),
        (MIN_FAILURES, DISABLE_AFTER - timedelta(seconds=1), False),
        (10_000, timedelta(hours=1), False),
    ],
)
def test_long_failure_disables(failures: int, since: timedelta, disabled: bool) -> None:
    why = disabled_reason(answer(), failures=failures, failing_since=NOW - since, now=NOW)
    assert why == (DisabledReason.FAILING if disabled else None)

"""The reference model against the table, line by line. Seconds count from the opening of an imaginary interview."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from tests.reference_model import (
    ROWS,
    ExpectedEnd,
    Report,
    Session,
    Timeouts,
    Truth,
    expected_end,
    public_status,
    talk_time,
)

DAY = 86_400


def at(seconds: float) -> datetime:
    return datetime(2026, 3, 1, 9, tzinfo=UTC) + timedelta(seconds=seconds)


def session(
    joined: float, left: float | None = None, reason: str = "CLIENT_INITIATED", announced: str | None = None
) -> Session:
    return Session(at(joined), None if left is None else at(left), reason, announced)


def truth(
    candidate: Iterable[Session] = (),
    agents: Iterable[Session] = (),
    *,
    tokens: Iterable[float] = (0,),
    closes_at: float | None = 3600,
    reports: Iterable[tuple[float, str]] = (),
    deletions: Iterable[float] = (),
    cancelled: float | None = None,
    frozen: float | None = None,
) -> Truth:
    return Truth(
        candidate=tuple(candidate),
        agents=tuple(agents),
        tokens=tuple(map(at, tokens)),
        closes_at=None if closes_at is None else at(closes_at),
        reports=tuple(Report(at(reported), outcome) for reported, outcome in reports),
        deletions=tuple(map(at, deletions)),
        cancelled=None if cancelled is None else at(cancelled),
        frozen=None if frozen is None else at(frozen),
    )


def expected(history: Truth, now: float) -> tuple[str, str | None, float | None, float | None]:
    """Return the expected end with its instants in seconds."""
    found = expected_end(history, at(now))

    def seconds(instant: datetime | None) -> float | None:
        return (instant - at(0)).total_seconds() if instant else None

    return found.status, found.end_reason, seconds(found.started_at), seconds(found.ended_at)


# While an attempt lives.


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (9, "READY_TO_JOIN"),
        (10, "WAITING_FOR_AGENT"),
        (15, "IN_PROGRESS"),
        (100, "RECONNECTING"),
        (130, "IN_PROGRESS"),
        (200, "WAITING_FOR_AGENT"),
    ],
)
def test_a_living_attempt_is_what_its_connections_are(now: float, status: str) -> None:
    history = truth([session(10, 100), session(130)], [session(15, 200, "CONNECTION_TIMEOUT")])
    assert expected(history, now) == (status, None, 15 if now >= 15 else None, None)


def test_an_agent_alone_leaves_it_ready() -> None:
    assert expected(truth(agents=[session(5)]), 50) == ("READY_TO_JOIN", None, None, None)


def test_the_start_is_the_first_moment_of_both_and_not_a_later_one() -> None:
    history = truth([session(10, 40), session(60)], [session(5, 8), session(70, 75, "CONNECTION_TIMEOUT"), session(80)])
    assert expected(history, 90) == ("IN_PROGRESS", None, 70, None)


def test_before_it_opens_a_ready_interview_is_shown_as_scheduled() -> None:
    assert public_status("READY_TO_JOIN", at(0), at(1)) == "SCHEDULED"
    assert public_status("READY_TO_JOIN", at(1), at(1)) == "READY_TO_JOIN"
    assert public_status("READY_TO_JOIN", at(1), None) == "READY_TO_JOIN"
    assert public_status("CANCELLED", at(0), at(1)) == "CANCELLED"


# The rows.


def test_cancelled() -> None:
    history = truth([session(10)], [session(15)], cancelled=60)
    assert expected(history, 59) == ("IN_PROGRESS", None, 15, None)
    assert expected(history, 60) == ("CANCELLED", None, 15, 60)


@pytest.mark.parametrize("reason", ["CLIENT_INITIATED", "CONNECTION_TIMEOUT", "ROOM_DELETED", "ROOM_CLOSED"])
def test_completed_by_an_agent_that_leaves_having_announced_it(reason: str) -> None:
    history = truth([session(10)], [session(15, 100, reason, "completed")], deletions=[100])
    assert expected(history, 100) == ("COMPLETED", "AGENT_REPORTED", 15, 100)


def test_completed_by_an_agent_that_is_not_the_last() -> None:
    history = truth([session(10)], [session(15, 100, announced="completed"), session(20)])
    assert expected(history, 100) == ("COMPLETED", "AGENT_REPORTED", 15, 100)


def test_completed_by_post() -> None:
    assert expected(truth([session(10)], [session(15)], reports=[(60, "completed")]), 60) == (
        *("COMPLETED", "AGENT_REPORTED"),
        *(15, 60),
    )


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_report_before_the_start_does_not_count(outcome: str) -> None:
    assert expected(truth([session(10)], [session(15)], reports=[(14, outcome)]), 60)[0] == "IN_PROGRESS"
    assert expected(truth([session(10)], reports=[(14, outcome)]), 60)[0] == "WAITING_FOR_AGENT"
    assert expected(truth([session(10)], [session(5, 8, announced=outcome)]), 60)[0] == "WAITING_FOR_AGENT"


def test_failed_by_post() -> None:
    history = truth([session(10)], [session(15)], reports=[(60, "failed")])
    assert expected(history, 60) == ("FAILED", "AGENT_REPORTED", 15, 60)


def test_failed_by_the_last_agent_that_leaves_having_announced_it() -> None:
    history = truth([session(10)], [session(15, 100, "CONNECTION_TIMEOUT", "failed")])
    assert expected(history, 100) == ("FAILED", "AGENT_REPORTED", 15, 100)


def test_failed_is_not_the_word_of_an_agent_that_was_not_the_last() -> None:
    history = truth([session(10)], [session(15, 100, announced="failed"), session(20)])
    assert expected(history, 100) == ("IN_PROGRESS", None, 15, None)


def test_the_agent_left_having_announced_nothing() -> None:
    history = truth([session(10)], [session(15, 100)])
    assert expected(history, 99)[0] == "IN_PROGRESS"
    assert expected(history, 100) == ("COMPLETED", "AGENT_LEFT", 15, 100)


def test_the_agent_left_after_the_candidate() -> None:
    history = truth([session(10, 99.96)], [session(15, 100)])
    assert expected(history, 101) == ("RECONNECTING", None, 15, None)
    assert expected(history, 219.96) == ("ABANDONED", "CANDIDATE_LEFT", 15, 219.96)


@pytest.mark.parametrize(
    ("reason", "announced"),
    [("CLIENT_INITIATED", "pending"), ("CONNECTION_TIMEOUT", None), ("UNKNOWN", None), ("PARTICIPANT_REMOVED", None)],
)
def test_an_agent_that_crashed_ends_nothing_at_once(reason: str, announced: str | None) -> None:
    history = truth([session(10)], [session(15, 100, reason, announced)])
    assert expected(history, 100) == ("WAITING_FOR_AGENT", None, 15, None)
    assert expected(history, 190) == ("FAILED", "AGENT_UNAVAILABLE", 15, 190)


def test_of_two_agents_only_the_last_that_leaves_ends_it() -> None:
    history = truth([session(10)], [session(15, 50), session(20, 100)])
    assert expected(history, 50)[0] == "IN_PROGRESS"
    assert expected(history, 100) == ("COMPLETED", "AGENT_LEFT", 15, 100)


def test_before_the_start_an_agent_that_leaves_ends_nothing() -> None:
    assert expected(truth([session(10)], [session(5, 9)]), 50)[0] == "WAITING_FOR_AGENT"


def test_the_room_is_deleted_from_outside() -> None:
    history = truth([session(10, 100, "ROOM_DELETED")], [session(15, 100, "ROOM_DELETED")], deletions=[100])
    assert expected(history, 100) == ("COMPLETED", "ROOM_DELETED", 15, 100)


def test_a_room_deleted_under_an_agent_at_work_is_a_failure_after_the_grace() -> None:
    agents = [session(15, 100, "ROOM_DELETED", "pending")]
    history = truth([session(10, 100, "ROOM_DELETED")], agents, deletions=[100])
    assert expected(history, 219) == ("RECONNECTING", None, 15, None)
    assert expected(history, 220) == ("FAILED", "AGENT_UNAVAILABLE", 15, 220)


def test_a_room_that_this_service_deleted_ends_nothing_at_once() -> None:
    history = truth([session(10, 100, "ROOM_DELETED")], [session(15, 100, "ROOM_DELETED")])
    assert expected(history, 100)[0] == "RECONNECTING"


def test_a_room_deleted_before_the_start_is_only_a_leave() -> None:
    history = truth([session(10, 20, "ROOM_DELETED")], deletions=[20], closes_at=30)
    assert expected(history, 139) == ("READY_TO_JOIN", None, None, None)
    assert expected(history, 140) == ("ABANDONED", "LEFT_BEFORE_START", None, 140)


def test_max_duration_is_over() -> None:
    history = truth([session(10)], [session(15)])
    assert expected(history, 1814)[0] == "IN_PROGRESS"
    assert expected(history, 1815) == ("COMPLETED", "MAX_DURATION_REACHED", 15, 1815)


def test_max_duration_is_over_while_the_candidate_is_gone() -> None:
    assert expected(truth([session(10, 1800)], [session(15)]), 2000) == ("COMPLETED", "MAX_DURATION_REACHED", 15, 1815)


def test_the_candidate_left_on_purpose_and_an_agent_was_there() -> None:
    history = truth([session(10, 100)], [session(15, 225, "ROOM_CLOSED", "pending")])
    assert expected(history, 219.999)[0] == "RECONNECTING"
    assert expected(history, 220) == ("ABANDONED", "CANDIDATE_LEFT", 15, 220)


@pytest.mark.parametrize("reason", ["CLIENT_INITIATED", "CONNECTION_TIMEOUT", "UNKNOWN"])
def test_the_candidate_gave_up_after_the_agent_had_gone(reason: str) -> None:
    history = truth([session(10, 105, reason)], [session(15, 100, "CONNECTION_TIMEOUT")])
    assert expected(history, 224)[0] == "RECONNECTING"
    assert expected(history, 225) == ("FAILED", "AGENT_UNAVAILABLE", 15, 225)


@pytest.mark.parametrize(
    "reason", ["CONNECTION_TIMEOUT", "UNKNOWN", "SERVER_SHUTDOWN", "PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY"]
)
def test_the_candidates_connection_was_lost(reason: str) -> None:
    assert expected(truth([session(10, 100, reason)], [session(15)]), 220) == ("FAILED", "CONNECTION_LOST", 15, 220)


def test_a_server_that_was_killed_took_both_at_once() -> None:
    history = truth([session(10, 100, "UNKNOWN")], [session(15, 100, "UNKNOWN")])
    assert expected(history, 220) == ("FAILED", "CONNECTION_LOST", 15, 220)


def test_back_within_the_grace() -> None:
    history = truth([session(10, 100), session(219)], [session(15)])
    assert expected(history, 300) == ("IN_PROGRESS", None, 15, None)


def test_back_after_the_grace_is_too_late() -> None:
    history = truth([session(10, 100), session(221)], [session(15)])
    assert expected(history, 300) == ("ABANDONED", "CANDIDATE_LEFT", 15, 220)


def test_a_second_device_is_no_leave() -> None:
    history = truth([session(10, 100, "DUPLICATE_IDENTITY"), session(100.02)], [session(15)])
    assert expected(history, 300) == ("IN_PROGRESS", None, 15, None)


def test_no_agent_came() -> None:
    history = truth([session(10)])
    assert expected(history, 99)[0] == "WAITING_FOR_AGENT"
    assert expected(history, 100) == ("FAILED", "AGENT_UNAVAILABLE", None, 100)


def test_the_wait_for_an_agent_counts_from_the_newest_connection() -> None:
    assert expected(truth([session(10, 80, "DUPLICATE_IDENTITY"), session(80)]), 170) == (
        *("FAILED", "AGENT_UNAVAILABLE"),
        *(None, 170),
    )


def test_the_wait_for_an_agent_counts_from_the_last_agents_leave() -> None:
    agents = [session(15, 50, "CONNECTION_TIMEOUT"), session(90, 95, "CONNECTION_TIMEOUT")]
    assert expected(truth([session(10)], agents), 185) == ("FAILED", "AGENT_UNAVAILABLE", 15, 185)


def test_an_agent_in_time() -> None:
    assert expected(truth([session(10)], [session(99)]), 150) == ("IN_PROGRESS", None, 99, None)


def test_an_agent_that_comes_too_late_starts_nothing() -> None:
    assert expected(truth([session(10)], [session(101)]), 150) == ("FAILED", "AGENT_UNAVAILABLE", None, 100)


def test_a_candidate_that_leaves_while_waiting_ends_that_wait() -> None:
    assert expected(truth([session(10, 99)]), 150) == ("READY_TO_JOIN", None, None, None)


# The last row.


def test_no_token_and_no_join() -> None:
    history = truth(tokens=[])
    assert expected(history, 3599) == ("READY_TO_JOIN", None, None, None)
    assert expected(history, 3600) == ("NO_SHOW", None, None, 3600)


@pytest.mark.parametrize(("token", "over"), [(10, 3600), (3550, 3670), (3590, 3710)])
def test_a_token_led_to_no_connection(token: float, over: float) -> None:
    history = truth(tokens=[token])
    assert expected(history, over - 1)[0] == "READY_TO_JOIN"
    assert expected(history, over) == ("FAILED", "CANDIDATE_CONNECTION_FAILED", None, over)


def test_a_token_asked_for_in_the_last_moments_puts_it_off_again() -> None:
    assert expected(truth(tokens=[3550, 3669]), 3700)[0] == "READY_TO_JOIN"
    assert expected(truth(tokens=[3550, 3669]), 3789)[3] == 3789
    assert expected(truth(tokens=[3550, 3671]), 3789)[3] == 3670


def test_the_candidate_waited_in_all_and_left() -> None:
    assert expected(truth([session(10, 25), session(50, 65)]), 3600) == ("FAILED", "AGENT_UNAVAILABLE", None, 3600)


def test_the_candidate_left_before_the_start() -> None:
    assert expected(truth([session(10, 25), session(50, 64.999)]), 3600) == (
        "ABANDONED",
        "LEFT_BEFORE_START",
        None,
        3600,
    )


def test_the_window_waits_for_the_grace_of_the_last_leave() -> None:
    history = truth([session(3500, 3580)])
    assert expected(history, 3699)[0] == "READY_TO_JOIN"
    assert expected(history, 3700) == ("FAILED", "AGENT_UNAVAILABLE", None, 3700)


def test_the_window_ends_nothing_while_the_candidate_is_connected() -> None:
    assert expected(truth([session(3590)]), 3610)[0] == "WAITING_FOR_AGENT"


def test_the_window_ends_nothing_that_has_started() -> None:
    assert expected(truth([session(3500)], [session(3505)]), 4000) == ("IN_PROGRESS", None, 3505, None)


def test_without_an_end_of_the_window_a_day_passes() -> None:
    assert expected(truth(tokens=[], closes_at=None), 100 * DAY)[0] == "READY_TO_JOIN"
    history = truth(tokens=[10], closes_at=None)
    assert expected(history, DAY + 9)[0] == "READY_TO_JOIN"
    assert expected(history, DAY + 10) == ("FAILED", "CANDIDATE_CONNECTION_FAILED", None, DAY + 10)
    assert expected(truth([session(20, 60)], closes_at=None), DAY + 60) == (
        "FAILED",
        "AGENT_UNAVAILABLE",
        None,
        DAY + 60,
    )


# Between the rows.


def test_the_earliest_cause_wins_though_a_later_one_is_known() -> None:
    history = truth([session(10, 100)], [session(15, 300, announced="failed")], cancelled=250)
    assert expected(history, 400) == ("ABANDONED", "CANDIDATE_LEFT", 15, 220)


def test_at_one_instant_the_upper_row_wins() -> None:
    agents = [session(15, 100, announced="completed"), session(16, 100, announced="failed")]
    history = truth([session(10, 100, "ROOM_DELETED")], agents, deletions=[100])
    assert expected(history, 100)[:2] == ("COMPLETED", "AGENT_REPORTED")
    assert expected(truth([session(10)], [session(15)], reports=[(60, "failed")], cancelled=60), 60)[0] == "CANCELLED"


def test_the_rows_stand_in_the_tables_order() -> None:
    assert [row.__name__ for row in ROWS] == [
        "cancelled",
        "completion_reported",
        "failure_reported",
        "agent_left",
        "room_deleted",
        "agent_lost",
        "max_duration_over",
        "candidate_gone",
        "agent_missing",
        "window_over",
        "never_started",
    ]


# The one exception to an end that is final.


@pytest.mark.parametrize(("reported", "status"), [(221, "COMPLETED"), (1120, "COMPLETED"), (1121, "ABANDONED")])
def test_a_completion_report_within_a_quarter_of_an_hour_amends(reported: float, status: str) -> None:
    history = truth([session(10, 100)], [session(15)], reports=[(reported, "completed")])
    assert expected(history, 220)[0] == "ABANDONED"
    assert expected(history, 2000)[0] == status


def test_an_amended_end_keeps_its_instant() -> None:
    history = truth([session(10, 100)], [session(15)], reports=[(230, "completed")])
    assert expected(history, 230) == ("COMPLETED", "AGENT_REPORTED", 15, 220)


@pytest.mark.parametrize(("left", "status"), [(225, "COMPLETED"), (1120, "COMPLETED"), (1121, "ABANDONED")])
def test_an_agent_that_outlives_the_grace_amends_by_its_leave(left: float, status: str) -> None:
    history = truth([session(10, 100)], [session(15, left, "ROOM_CLOSED", "completed")])
    assert expected(history, 224)[0] == "ABANDONED"
    assert expected(history, 2000)[0] == status


def test_a_report_of_failure_amends_nothing() -> None:
    assert expected(truth([session(10, 100)], [session(15)], reports=[(230, "failed")]), 300)[0] == "ABANDONED"


def test_what_was_never_started_or_was_cancelled_is_not_amended() -> None:
    assert (
        expected(truth([session(10)], [session(15)], cancelled=60, reports=[(70, "completed")]), 99)[0] == "CANCELLED"
    )
    assert expected(truth([session(10)], [session(101)], reports=[(150, "completed")]), 200)[0] == "FAILED"


def test_a_frozen_attempt_is_not_amended() -> None:
    history = truth([session(10, 100)], [session(15)], reports=[(300, "completed")], frozen=250)
    assert expected(history, 400)[0] == "ABANDONED"


# The rest.


def test_the_waits_are_parameters() -> None:
    short = Timeouts(candidate_grace=timedelta(seconds=5))
    found = expected_end(truth([session(10, 100)], [session(15)]), at(105), short)
    assert found == ExpectedEnd("ABANDONED", "CANDIDATE_LEFT", at(15), at(105))


@pytest.mark.parametrize(("now", "seconds"), [(14, 0), (50, 35), (120, 85), (140, 95), (500, 155)])
def test_talk_time_is_while_both_are_connected(now: float, seconds: float) -> None:
    history = truth([session(10, 100), session(130)], [session(15, 200)])
    assert talk_time(history, at(now)) == timedelta(seconds=seconds)


# Agents that are lost again and again.


def crashes(*instants: float, reason: str = "CONNECTION_TIMEOUT", announced: str | None = None) -> list[Session]:
    return [session(instant - 10, instant, reason, announced) for instant in instants]


@pytest.mark.parametrize(("third", "ended"), [(615, 615), (615.001, None)])
def test_the_third_loss_within_ten_minutes_ends_it(third: float, ended: float | None) -> None:
    agents = [
        session(5, 15, "CONNECTION_TIMEOUT"),
        session(20, 300, announced="pending"),
        session(320, third, "UNKNOWN"),
    ]
    history = truth([session(0)], agents)
    assert expected(history, 617) == (
        ("FAILED", "AGENT_UNAVAILABLE", 5, ended) if ended else ("WAITING_FOR_AGENT", None, 5, None)
    )


@pytest.mark.parametrize(
    ("reason", "announced"),
    [("PARTICIPANT_REMOVED", None), ("SERVER_SHUTDOWN", "pending"), ("ROOM_CLOSED", None), ("ROOM_DELETED", "pending")],
)
def test_what_is_never_a_loss(reason: str, announced: str | None) -> None:
    history = truth([session(0)], crashes(15, 30, 45, reason=reason, announced=announced))
    assert expected(history, 46)[0] == "WAITING_FOR_AGENT"


def test_a_leave_inferred_together_with_the_candidates_is_no_loss() -> None:
    candidate = [session(0, 45, "UNKNOWN"), session(44)]
    assert expected(truth(candidate, [*crashes(15, 30), session(35, 45, "UNKNOWN")]), 46)[0] == "WAITING_FOR_AGENT"


@pytest.mark.parametrize(("last_left", "status"), [(1725, "FAILED"), (1726, "COMPLETED")])
def test_max_duration_after_a_long_wait_is_a_failure(last_left: float, status: str) -> None:
    candidate = [session(0, last_left + 30), session(last_left + 30)]
    found = expected(truth(candidate, [session(15, last_left, "CONNECTION_TIMEOUT")]), 1815)
    assert found[::3] == (status, 1815)


@pytest.mark.parametrize(("tokens", "over"), [([0], 3600 + 1800), ([3600 + 60], 3600 + 60 + 1800)])
def test_who_reconnects_for_ever_has_a_last_moment_to_start(tokens: list[float], over: float) -> None:
    candidate = [session(second, second + 60) for second in range(3000, 7000, 80)]
    history = truth(candidate, tokens=tokens)
    assert expected(history, over - 1)[3] is None
    assert expected(history, over) == ("FAILED", "AGENT_UNAVAILABLE", None, over)


def test_without_closing_the_last_moment_is_a_week_after_the_first_token() -> None:
    candidate = [session(second, second + 1) for second in range(0, 8 * DAY, DAY // 2)]
    history = truth(candidate[:5], tokens=[10, *range(20, 8 * DAY, DAY // 2)], closes_at=None)
    assert expected(history, 7 * DAY + 10) == ("ABANDONED", "LEFT_BEFORE_START", None, 7 * DAY + 10)

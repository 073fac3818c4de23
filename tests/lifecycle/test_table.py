"""derive(), line by line of the design's table of how an attempt ends."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.lifecycle import Connection, EndReason, Facts, Outcome, Role, Status, derive
from tests.lifecycle.history import LONG_AFTER, agent, at, candidate, derive_checked, ended, facts, report, room

DELETED = "ROOM_DELETED"
TIMED_OUT = "CONNECTION_TIMEOUT"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(facts(), "READY_TO_JOIN", id="no join yet"),
        pytest.param(facts(agent(1)), "READY_TO_JOIN", id="only an agent is there"),
        pytest.param(facts(candidate(1)), "WAITING_FOR_AGENT", id="the candidate is alone"),
        pytest.param(facts(candidate(1), agent(2)), "IN_PROGRESS", id="candidate first"),
        pytest.param(facts(agent(1), candidate(2)), "IN_PROGRESS", id="agent first"),
        pytest.param(facts(candidate(1, 9), agent(2)), "RECONNECTING", id="started, the candidate gone"),
        pytest.param(facts(candidate(1, 9)), "READY_TO_JOIN", id="never started, the candidate gone"),
        pytest.param(
            facts(candidate(1), agent(2, 9, outcome=Outcome.PENDING)), "WAITING_FOR_AGENT", id="the agent crashed"
        ),
        pytest.param(facts(candidate(1), agent(2, 9, TIMED_OUT)), "WAITING_FOR_AGENT", id="a silent agent timed out"),
        pytest.param(facts(candidate(1, 5), candidate(8), agent(2)), "IN_PROGRESS", id="back again"),
    ],
)
def test_status_while_the_attempt_lives(given: Facts, expected: str) -> None:
    assert derive(given, at(10)).status == expected


def test_started_at_is_the_first_moment_with_both() -> None:
    assert derive(facts(candidate(1.25), agent(3.5)), at(10)).started_at == at(3.5)
    assert derive(facts(agent(1, 2), candidate(1.5), agent(7)), at(10)).started_at == at(1.5)


def test_late_evidence_corrects_started_at() -> None:
    known = facts(candidate(1), agent(30))
    late = replace(known, connections=(*known.connections, agent(5, 20, outcome=Outcome.PENDING)))
    assert derive(known, at(40)).started_at == at(30)
    assert derive(late, at(40)).started_at == at(5)


def test_cancel() -> None:
    assert ended(facts(cancelled_at=at(5))) == ("CANCELLED", None, 5)
    assert ended(facts(candidate(1), agent(2), cancelled_at=at(50))) == ("CANCELLED", None, 50)


class TestAgentReports:
    def test_completed_by_post(self) -> None:
        given = facts(candidate(1), agent(2), reports=(report(60),))
        assert ended(given) == ("COMPLETED", "AGENT_REPORTED", 60)

    @pytest.mark.parametrize("reason", ["CLIENT_INITIATED", TIMED_OUT, "ROOM_CLOSED", DELETED])
    def test_completed_announced_by_an_agent_that_left_however(self, reason: str) -> None:
        given = facts(candidate(1), agent(2, 60, reason, outcome=Outcome.COMPLETED))
        assert ended(given) == ("COMPLETED", "AGENT_REPORTED", 60)

    def test_completed_announced_by_one_of_two_agents(self) -> None:
        given = facts(candidate(1), agent(2, 60, outcome=Outcome.COMPLETED), agent(3))
        assert ended(given) == ("COMPLETED", "AGENT_REPORTED", 60)

    def test_failed_by_post(self) -> None:
        given = facts(candidate(1), agent(2), reports=(report(60, Outcome.FAILED),))
        assert ended(given) == ("FAILED", "AGENT_REPORTED", 60)

    def test_failed_announced_by_the_last_agent(self) -> None:
        given = facts(candidate(1), agent(2, 60, outcome=Outcome.FAILED))
        assert ended(given) == ("FAILED", "AGENT_REPORTED", 60)

    def test_failed_announced_while_another_agent_stays(self) -> None:
        given = facts(candidate(1), agent(2, 60, outcome=Outcome.FAILED), agent(3))
        assert derive(given, at(70)).status is Status.IN_PROGRESS

    def test_nothing_counts_before_the_start(self) -> None:
        given = facts(agent(1, 9, outcome=Outcome.COMPLETED), reports=(report(5), report(6, Outcome.FAILED)))
        assert derive(given, at(10)).status is Status.READY_TO_JOIN

    def test_a_report_whose_start_liveKits_clock_puts_after_it_counts_from_the_start(self) -> None:
        given = facts(candidate(1), agent(2), reports=(report(1.9),))
        assert ended(given) == ("COMPLETED", "AGENT_REPORTED", 2)


class TestSilentAgentLeaves:
    def test_it_leaves_before_the_candidate(self) -> None:
        assert ended(facts(candidate(1, 70), agent(2, 60))) == ("COMPLETED", "AGENT_LEFT", 60)

    def test_the_first_of_two_agents_leaves(self) -> None:
        assert derive(facts(candidate(1), agent(2, 60), agent(3)), at(70)).status is Status.IN_PROGRESS

    @pytest.mark.parametrize("reason", [TIMED_OUT, "SERVER_SHUTDOWN", "PARTICIPANT_REMOVED", "UNKNOWN"])
    def test_any_other_reason_is_a_loss(self, reason: str) -> None:
        assert derive(facts(candidate(1), agent(2, 60, reason)), at(70)).status is Status.WAITING_FOR_AGENT

    def test_in_one_second_the_agent_was_first_in_the_queue(self) -> None:
        given = facts(candidate(1, 60, left_order=8), agent(2, 60, left_order=7))
        assert ended(given) == ("COMPLETED", "AGENT_LEFT", 60)

    def test_in_one_second_the_candidate_was_first_in_the_queue(self) -> None:
        given = facts(candidate(1, 60, left_order=7), agent(2, 60, left_order=8))
        assert ended(given) == ("ABANDONED", "CANDIDATE_LEFT", 180)

    def test_an_agent_gone_before_the_candidate_came_in_that_second(self) -> None:
        given = facts(agent(1, 11, left_order=5), candidate(10.7, joined_order=6))
        assert derive(given, at(20)).status is Status.WAITING_FOR_AGENT
        assert derive(given, at(20)).started_at is None


class TestRoomDeletedFromOutside:
    def test_once_the_room_is_known_to_be_gone(self) -> None:
        given = facts(candidate(1, 60, DELETED), agent(2, 60, DELETED), rooms=(room(ended=60),))
        assert ended(given) == ("COMPLETED", "ROOM_DELETED", 60)

    def test_not_before(self) -> None:
        given = facts(candidate(1, 60, DELETED), agent(2, 60, DELETED), rooms=(room(),))
        assert derive(given, at(61)).status is Status.RECONNECTING

    def test_an_agent_that_announced_pending_had_not_ended_it(self) -> None:
        given = facts(
            candidate(1, 60, DELETED), agent(2, 60, DELETED, outcome=Outcome.PENDING), rooms=(room(ended=60),)
        )
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 180)

    def test_an_announced_completion_beats_it(self) -> None:
        given = facts(
            candidate(1, 60, DELETED), agent(2, 60, DELETED, outcome=Outcome.COMPLETED), rooms=(room(ended=60),)
        )
        assert ended(given) == ("COMPLETED", "AGENT_REPORTED", 60)

    def test_before_the_start_it_ends_nothing(self) -> None:
        given = facts(candidate(1, 60, DELETED), rooms=(room(ended=60),))
        assert derive(given, at(61)).status is Status.READY_TO_JOIN

    def test_a_snapshot_shows_it_only_once_the_grace_is_over(self) -> None:
        """Before that the webhook with the agent's outcome may be on its way."""
        missing = replace(room(), missing_at=at(61))
        given = facts(candidate(1, 60, DELETED), agent(2, 60, DELETED), rooms=(missing,))
        assert derive(replace(given, checked_at=at(179.999)), at(180)).status is Status.RECONNECTING
        assert derive(replace(given, checked_at=at(180)), at(180)).end_reason == "ROOM_DELETED"

    def test_an_agent_that_had_announced_and_left_before_had_not_ended_it(self) -> None:
        given = facts(
            candidate(1, 60, DELETED),
            agent(2, 30, outcome=Outcome.PENDING),
            agent(40, 60, DELETED),
            rooms=(room(ended=60),),
        )
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 180)

    def test_an_agent_that_came_afterwards_does_not_matter(self) -> None:
        given = facts(
            candidate(1, 60, DELETED),
            agent(2, 60, DELETED),
            agent(70, 75, outcome=Outcome.PENDING, room_sid="RM_2"),
            rooms=(room(ended=60), room("RM_2", created=69)),
        )
        assert ended(given) == ("COMPLETED", "ROOM_DELETED", 60)

    def test_another_room_that_is_gone_does_not_show_it(self) -> None:
        given = facts(candidate(1, 60, DELETED), agent(2), rooms=(room(), room("RM_0", created=-9, ended=60)))
        assert derive(given, at(61)).status is Status.RECONNECTING
        assert derive(replace(given, rooms=()), at(61)).status is Status.RECONNECTING


def crash(joined: float, left: float, reason: str = TIMED_OUT, **more: Any) -> Connection:
    """An agent that comes and is lost."""
    return agent(joined, left, reason, **more)


def missed(joined: float, missing: float) -> Connection:
    """An agent that a snapshot lacked."""
    return agent(joined, missing_at=at(missing))


class TestAgentIsLostAgainAndAgain:
    def test_the_third_loss_within_ten_minutes(self) -> None:
        twice = facts(candidate(1), crash(2, 10), crash(20, 30), agent(40))
        assert derive(twice, at(49)).status is Status.IN_PROGRESS
        thrice = facts(candidate(1), crash(2, 10), crash(20, 30), crash(40, 50))
        assert ended(thrice, now=50) == ("FAILED", "AGENT_UNAVAILABLE", 50)

    @pytest.mark.parametrize(("third", "status"), [(610, "FAILED"), (610.001, "WAITING_FOR_AGENT")])
    def test_within_means_that_the_first_and_the_third_are_at_most_ten_minutes_apart(
        self, third: float, status: str
    ) -> None:
        long = crash(50, 300)
        given = facts(candidate(1), crash(2, 10), long, crash(310, third))
        found = derive(given, at(611))
        assert (found.status, found.started_at) == (status, at(2))
        assert found.rule == ("agent_lost" if status == "FAILED" else "candidate_alone")

    def test_two_losses_are_not_enough_and_an_old_one_does_not_count(self) -> None:
        given = facts(candidate(1), crash(2, 10), crash(20, 30), crash(60, 700), crash(710, 720))
        assert derive(given, at(721)).status is Status.WAITING_FOR_AGENT

    def test_the_fourth_makes_three_within_ten_minutes(self) -> None:
        given = facts(candidate(1), crash(2, 10), crash(20, 300), crash(310, 620), crash(630, 640))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 640)

    @pytest.mark.parametrize(
        ("reason", "outcome", "is_loss"),
        [
            (TIMED_OUT, None, True),
            (TIMED_OUT, Outcome.PENDING, True),
            ("CLIENT_INITIATED", Outcome.PENDING, True),
            ("ROOM_CLOSED", Outcome.PENDING, False),
            (DELETED, Outcome.PENDING, False),
            ("PARTICIPANT_REMOVED", Outcome.PENDING, False),
            ("SERVER_SHUTDOWN", None, False),
            ("DUPLICATE_IDENTITY", None, False),
            ("UNKNOWN", None, False),
        ],
    )
    def test_what_a_loss_is(self, reason: str, outcome: Outcome | None, is_loss: bool) -> None:
        agents = [crash(joined, joined + 5, reason, outcome=outcome) for joined in (2, 12, 22)]
        found = derive(facts(candidate(1, room_sid="RM_2"), *agents), at(28))
        assert found.status == ("FAILED" if is_loss else "WAITING_FOR_AGENT")

    def test_a_leave_while_another_agent_stays_is_none(self) -> None:
        given = facts(candidate(1), agent(2), crash(3, 10), crash(20, 30), crash(40, 50))
        assert derive(given, at(51)).status is Status.IN_PROGRESS

    def test_nor_is_one_while_the_candidate_is_away(self) -> None:
        given = facts(candidate(1, 45), candidate(51), crash(2, 10), crash(20, 30), crash(40, 50))
        assert derive(given, at(52)).status is Status.WAITING_FOR_AGENT

    def test_a_newer_sid_of_the_agent_is_no_loss_however_it_is_sorted(self) -> None:
        """The newer one's leave is as early as its join; the older one's leave is inferred from that join."""
        given = facts(
            candidate(1),
            crash(2, 10),
            crash(12, 15),
            replace(agent(40, 30, TIMED_OUT, joined_order=7), identity="agent-20"),
            agent(20),
        )
        assert derive(replace(given, checked_at=at(50)), at(50)).status is Status.WAITING_FOR_AGENT

    def test_an_inferred_third_loss_waits_for_a_second_snapshot(self) -> None:
        given = facts(candidate(1), crash(2, 10), crash(20, 30), missed(40, 50))
        for checked_at in (None, at(50)):
            found = derive(replace(given, checked_at=checked_at), at(51))
            assert found.status is Status.WAITING_FOR_AGENT
            assert found.undecided is not None
            assert found.next_deadline_at == at(50)
        assert ended(replace(given, checked_at=at(50.001)), now=51) == ("FAILED", "AGENT_UNAVAILABLE", 50)

    def test_the_earlier_ones_need_no_second_snapshot(self) -> None:
        given = facts(candidate(1), missed(2, 10), missed(20, 30), crash(40, 50))
        assert derive(replace(given, checked_at=at(30)), at(51)).rule == "agent_lost"

    def test_what_was_inferred_together_with_the_candidates_leave_is_none(self) -> None:
        """LiveKit was killed: the candidate is back already, in a new room."""
        rooms = (room(), room("RM_2", created=50))
        back = candidate(50.3, room_sid="RM_2", joined_order=1)
        given = facts(candidate(1), back, crash(2, 10), crash(20, 30), agent(40), rooms=rooms)
        assert derive(replace(given, checked_at=at(60)), at(60)).status is Status.WAITING_FOR_AGENT
        told = replace(given, connections=(candidate(1, 45), *given.connections[1:]))
        assert derive(replace(told, checked_at=at(60)), at(60)).rule == "agent_lost"


def visits(first: float, last: float, step: float = 80) -> list[Connection]:
    """Connections of a candidate that reconnects again and again, each with a newer sid."""
    seconds = [first + step * number for number in range(int((last - first) / step) + 1)]
    return [candidate(second, second + step - 1) for second in seconds]


class TestMaxDuration:
    @pytest.mark.parametrize(
        ("last_left", "end"),
        [(1712, ("FAILED", "AGENT_UNAVAILABLE")), (1712.001, ("COMPLETED", "MAX_DURATION_REACHED"))],
    )
    def test_after_a_wait_of_90_seconds_in_all_it_is_a_failure(self, last_left: float, end: tuple[str, str]) -> None:
        """The candidate's reconnects restart the wait of 90 s, and not this one."""
        given = facts(candidate(1, 1760), candidate(1760), agent(2, last_left, TIMED_OUT))
        assert ended(given) == (*end, 1802)

    @pytest.mark.parametrize(("back", "reason"), [(1770, "AGENT_UNAVAILABLE"), (1770.001, "MAX_DURATION_REACHED")])
    def test_the_wait_is_while_it_is_connected(self, back: float, reason: str) -> None:
        """Alone from 1702 to 1760, and from when it is back to 1802."""
        given = facts(candidate(1, 1760), candidate(back), agent(2, 1702, TIMED_OUT))
        assert ended(given) == ("FAILED" if reason == "AGENT_UNAVAILABLE" else "COMPLETED", reason, 1802)

    def test_the_wait_before_the_last_agent_does_not_count(self) -> None:
        given = facts(candidate(1, 1700), candidate(1700), agent(2, 1640, TIMED_OUT), agent(1720, 1750, TIMED_OUT))
        assert ended(given) == ("COMPLETED", "MAX_DURATION_REACHED", 1802)

    def test_an_agent_that_is_back_at_its_instant_is_in_time(self) -> None:
        given = facts(candidate(1, 1760), candidate(1760), agent(2, 1702, TIMED_OUT), agent(1802))
        assert ended(given) == ("COMPLETED", "MAX_DURATION_REACHED", 1802)

    def test_it_counts_from_the_start(self) -> None:
        assert ended(facts(candidate(1), agent(2))) == ("COMPLETED", "MAX_DURATION_REACHED", 1802)

    def test_it_is_over_also_while_the_candidate_is_away(self) -> None:
        given = facts(candidate(1, 1750), agent(2), max_duration=timedelta(seconds=1800))
        assert ended(given) == ("COMPLETED", "MAX_DURATION_REACHED", 1802)


class TestCandidateGoneForTheGrace:
    def test_on_purpose_while_an_agent_was_there(self) -> None:
        assert ended(facts(candidate(1, 60), agent(2, 200))) == ("ABANDONED", "CANDIDATE_LEFT", 180)

    def test_after_the_agent_had_gone(self) -> None:
        given = facts(candidate(1, 60), agent(2, 50, TIMED_OUT))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 180)

    @pytest.mark.parametrize("reason", [TIMED_OUT, "SERVER_SHUTDOWN", "PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY"])
    def test_by_any_other_reason(self, reason: str) -> None:
        assert ended(facts(candidate(1, 60, reason), agent(2))) == ("FAILED", "CONNECTION_LOST", 180)

    def test_back_at_the_last_moment(self) -> None:
        given = facts(candidate(1, 60), candidate(180), agent(2))
        assert derive(given, at(200)).status is Status.IN_PROGRESS

    def test_back_too_late_though_it_was_not_decided_yet(self) -> None:
        given = facts(candidate(1, 60), candidate(180.001), agent(2))
        assert ended(given, now=200) == ("ABANDONED", "CANDIDATE_LEFT", 180)


class TestNoAgent:
    def test_from_the_candidates_join(self) -> None:
        assert ended(facts(candidate(1))) == ("FAILED", "AGENT_UNAVAILABLE", 91)

    def test_from_the_last_agents_leave(self) -> None:
        given = facts(candidate(1), agent(2, 60, TIMED_OUT))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 150)

    def test_from_the_candidates_newest_sid(self) -> None:
        assert ended(facts(candidate(1, 41), candidate(40))) == ("FAILED", "AGENT_UNAVAILABLE", 130)

    def test_an_agent_at_the_last_moment(self) -> None:
        assert derive(facts(candidate(1), agent(91)), at(100)).status is Status.IN_PROGRESS

    def test_an_agent_too_late(self) -> None:
        assert ended(facts(candidate(1), agent(91.5)), now=100) == ("FAILED", "AGENT_UNAVAILABLE", 91)


class TestWindowOver:
    def test_no_join_and_no_token(self) -> None:
        assert ended(facts(closes_at=at(600))) == ("NO_SHOW", None, 600)

    def test_a_token_led_to_no_connection(self) -> None:
        given = facts(closes_at=at(600), last_token_at=at(590))
        assert ended(given) == ("FAILED", "CANDIDATE_CONNECTION_FAILED", 710)

    def test_the_candidate_waited_long(self) -> None:
        given = facts(candidate(10, 25), candidate(30, 45), closes_at=at(600), last_token_at=at(9))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 600)

    def test_the_candidate_left_after_a_short_visit(self) -> None:
        given = facts(candidate(10, 25), closes_at=at(100), last_token_at=at(9))
        assert ended(given) == ("ABANDONED", "LEFT_BEFORE_START", 145)

    def test_without_closes_at_a_day_after_the_last_sign(self) -> None:
        given = facts(candidate(10, 25), last_token_at=at(9))
        assert ended(given, now=24 * 3600 + 26) == ("ABANDONED", "LEFT_BEFORE_START", 24 * 3600 + 25)

    def test_a_day_after_the_last_token_where_that_is_later(self) -> None:
        given = facts(candidate(10, 25), last_token_at=at(30))
        assert derive_checked(given, now=24 * 3600 + 29.9).status is Status.READY_TO_JOIN
        assert ended(given, now=24 * 3600 + 31) == ("ABANDONED", "LEFT_BEFORE_START", 24 * 3600 + 30)

    @pytest.mark.parametrize(("left", "status"), [(40, "FAILED"), (39.999, "ABANDONED")])
    def test_who_waited_half_a_minute_in_all_has_waited(self, left: float, status: str) -> None:
        given = facts(candidate(10, 25), candidate(25, left), closes_at=at(600), last_token_at=at(9))
        assert ended(given)[0] == status

    def test_a_join_at_its_instant_is_in_time(self) -> None:
        given = facts(candidate(600), closes_at=at(600), last_token_at=at(9))
        assert derive_checked(given, now=601).status is Status.WAITING_FOR_AGENT
        assert ended(facts(candidate(600.001), closes_at=at(600), last_token_at=at(9)), now=601)[2] == 600

    def test_without_any_sign_it_stays_open(self) -> None:
        found = derive_checked(facts(), now=10 * 24 * 3600)
        assert (found.status, found.next_deadline_at) == (Status.READY_TO_JOIN, None)


WEEK = 7 * 24 * 3600


class TestNeverStarted:
    @pytest.mark.parametrize(("token", "over"), [(9, 600 + 1800), (700, 700 + 1800)])
    def test_who_reconnects_again_and_again_has_half_an_hour(self, token: float, over: float) -> None:
        given = facts(*visits(500, 3000), closes_at=at(600), first_token_at=at(token), last_token_at=at(2000))
        assert derive_checked(given, now=over - 1).ended_at is None
        assert ended(given, now=over) == ("FAILED", "AGENT_UNAVAILABLE", over)

    def test_it_is_a_deadline(self) -> None:
        given = facts(*visits(500, 2340), closes_at=at(600), first_token_at=at(9), dispatched_at=at(2371))
        assert derive(given, at(2380)).next_deadline_at == at(2400)

    def test_without_a_token_it_counts_from_closes_at(self) -> None:
        assert ended(facts(*visits(500, 3000), closes_at=at(600)), now=2400) == ("FAILED", "AGENT_UNAVAILABLE", 2400)

    def test_without_closes_at_it_is_a_week_after_the_first_token(self) -> None:
        """The candidate asks for a token and looks in twice a day."""
        looks = [candidate(second, second + 3) for second in range(60, WEEK + 3600, 12 * 3600)]
        given = facts(*looks, first_token_at=at(50), last_token_at=at(WEEK))
        assert derive_checked(given, now=WEEK + 49).ended_at is None
        assert ended(given, now=WEEK + 51) == ("FAILED", "AGENT_UNAVAILABLE", WEEK + 50)
        assert ended(facts(*looks[:3], first_token_at=at(50), last_token_at=at(WEEK)), now=WEEK + 51) == (
            "ABANDONED",
            "LEFT_BEFORE_START",
            WEEK + 50,
        )

    def test_nobody_connected_and_none_ever_was(self) -> None:
        given = facts(closes_at=at(600), first_token_at=at(590), last_token_at=at(2390))
        assert ended(given) == ("FAILED", "CANDIDATE_CONNECTION_FAILED", 2400)

    @pytest.mark.parametrize(("met", "status"), [(2400, Status.IN_PROGRESS), (2400.001, Status.FAILED)])
    def test_a_start_at_its_instant_is_in_time(self, met: float, status: Status) -> None:
        visited = (*visits(500, 2300), candidate(2390), agent(met))
        given = facts(*visited, closes_at=at(600), first_token_at=at(9), last_token_at=at(9))
        assert derive_checked(given, now=2401).status is status

    @pytest.mark.parametrize(
        ("joined", "left", "end"),
        [(2400, 2410, "AGENT_UNAVAILABLE"), (2401, 2440, "LEFT_BEFORE_START"), (2380, 2400, "LEFT_BEFORE_START")],
    )
    def test_whether_the_candidate_is_connected_is_judged_at_its_instant(
        self, joined: float, left: float, end: str
    ) -> None:
        given = facts(candidate(500, 501), candidate(joined, left), closes_at=at(600), last_token_at=at(2390))
        assert ended(given, now=2450)[1:] == (end, 2400)


class TestWhichEndWins:
    def test_a_deadline_that_was_due_before_a_known_end(self) -> None:
        """The candidate was gone for the grace at 180, so the cancel at 190 came too late."""
        given = facts(candidate(1, 60), agent(2), cancelled_at=at(190))
        assert ended(given, now=200) == ("ABANDONED", "CANDIDATE_LEFT", 180)

    def test_a_known_end_before_a_deadline(self) -> None:
        given = facts(candidate(1, 60), agent(2), cancelled_at=at(170))
        assert ended(given) == ("CANCELLED", None, 170)

    def test_at_one_instant_the_upper_row(self) -> None:
        given = facts(candidate(1), agent(2, 60), cancelled_at=at(60))
        assert ended(given) == ("CANCELLED", None, 60)

    def test_maximum_duration_before_the_grace_at_one_instant(self) -> None:
        given = facts(candidate(1, 60), agent(2), max_duration=timedelta(seconds=178))
        assert ended(given) == ("COMPLETED", "MAX_DURATION_REACHED", 180)


class TestDecisions:
    def test_a_deadline_is_decided_only_after_liveKit_was_asked(self) -> None:
        given = facts(candidate(1, 60), agent(2))
        for asked in (None, at(179)):
            undecided = derive(replace(given, checked_at=asked), at(181))
            assert undecided.status is Status.RECONNECTING
            assert undecided.undecided is not None
            assert undecided.next_deadline_at == at(180)
        assert derive(replace(given, checked_at=at(180)), at(181)).status is Status.ABANDONED

    def test_after_a_day_of_silence_it_is_decided_on_what_is_stored(self) -> None:
        given = facts(candidate(1, 60), agent(2))
        assert derive(given, at(180 + 24 * 3600 - 1)).status is Status.RECONNECTING
        assert derive(given, at(180 + 24 * 3600)).status is Status.ABANDONED

    def test_it_is_final(self) -> None:
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        late = facts(candidate(1, 60), candidate(100), agent(2), decision=decided.decision)
        found = derive(late, at(300))
        assert (found.status, found.ended_at, found.rule) == (Status.ABANDONED, at(180), "candidate_gone")

    @pytest.mark.parametrize(("seconds", "status"), [(180 + 900, "COMPLETED"), (180 + 901, "ABANDONED")])
    def test_for_a_quarter_of_an_hour_a_completion_report_amends_it(self, seconds: float, status: str) -> None:
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        found = derive(
            facts(candidate(1, 60), agent(2), decision=decided.decision, reports=(report(seconds),)), at(LONG_AFTER)
        )
        assert (found.status, found.ended_at) == (status, at(180))
        assert (found.rule == "amended") == (status == "COMPLETED")

    @pytest.mark.parametrize(("seconds", "status"), [(180 + 900, "COMPLETED"), (180 + 901, "ABANDONED")])
    def test_a_leave_with_completion_amends_it_like_a_report_of_that_instant(self, seconds: float, status: str) -> None:
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        left = agent(2, seconds, "ROOM_CLOSED", outcome=Outcome.COMPLETED)
        found = derive(facts(candidate(1, 60), left, decision=decided.decision), at(LONG_AFTER))
        assert (found.status, found.ended_at) == (status, at(180))
        assert (found.rule == "amended") == (status == "COMPLETED")

    @pytest.mark.parametrize(("left", "status"), [(2, "COMPLETED"), (1.999, "ABANDONED"), (100, "COMPLETED")])
    def test_a_late_leave_counts_from_the_start(self, left: float, status: str) -> None:
        """Its webhook comes after the decision."""
        decided = derive_checked(facts(candidate(1, 60), agent(2, 170, outcome=Outcome.PENDING)), now=181)
        late = agent(0.5, left, outcome=Outcome.COMPLETED)
        found = derive(facts(candidate(1, 60), agent(2, 170), late, decision=decided.decision), at(300))
        assert found.status == status

    def test_what_amends_it_is_kept_with_the_decision(self) -> None:
        """So that a process of an older version does not take it back."""
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        left = agent(2, 200, "ROOM_CLOSED", outcome=Outcome.COMPLETED)
        amended = derive(facts(candidate(1, 60), left, decision=decided.decision), at(300)).decision
        assert decided.decision
        assert amended == replace(decided.decision, status=Status.COMPLETED, end_reason=EndReason.AGENT_REPORTED)
        again = derive(facts(candidate(1, 60), agent(2, 200), decision=amended), at(301))
        assert (again.status, again.rule, again.ended_at) == (Status.COMPLETED, "candidate_gone", at(180))

    @pytest.mark.parametrize("change", [{"can_amend": False}, {"role": Role.OTHER}, {"outcome": Outcome.FAILED}])
    def test_no_other_leave_amends_it(self, change: dict[str, Any]) -> None:
        """can_amend is False for leaves of an older version; a surplus agent's role is OTHER."""
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        left = replace(agent(2, 200, "ROOM_CLOSED", outcome=Outcome.COMPLETED), **change)
        assert derive(facts(candidate(1, 60), left, decision=decided.decision), at(300)).status is Status.ABANDONED

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PENDING])
    def test_no_other_report_amends_it(self, outcome: Outcome) -> None:
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        given = facts(candidate(1, 60), agent(2), decision=decided.decision, reports=(report(200, outcome),))
        assert derive(given, at(300)).status is Status.ABANDONED

    def test_a_cancelled_interview_stays_cancelled(self) -> None:
        decided = derive_checked(facts(candidate(1), agent(2), cancelled_at=at(60)), now=61)
        given = facts(candidate(1), agent(2), decision=decided.decision, reports=(report(70),))
        assert derive(given, at(80)).status is Status.CANCELLED

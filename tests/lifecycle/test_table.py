"""derive(), line by line of the design's table of how an attempt ends."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.lifecycle import Facts, Outcome, Status, derive
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


class TestMaxDuration:
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

    def test_without_any_sign_it_stays_open(self) -> None:
        found = derive_checked(facts(), now=10 * 24 * 3600)
        assert (found.status, found.next_deadline_at) == (Status.READY_TO_JOIN, None)


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

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PENDING])
    def test_no_other_report_amends_it(self, outcome: Outcome) -> None:
        decided = derive_checked(facts(candidate(1, 60), agent(2)), now=181)
        given = facts(candidate(1, 60), agent(2), decision=decided.decision, reports=(report(200, outcome),))
        assert derive(given, at(300)).status is Status.ABANDONED

    def test_a_cancelled_interview_stays_cancelled(self) -> None:
        decided = derive_checked(facts(candidate(1), agent(2), cancelled_at=at(60)), now=61)
        given = facts(candidate(1), agent(2), decision=decided.decision, reports=(report(70),))
        assert derive(given, at(80)).status is Status.CANCELLED

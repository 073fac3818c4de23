"""What the comparisons of the rules turn on, as far as no row of the table shows it: see comparisons.py."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.lifecycle import DeleteRoom, Facts, Outcome, Role, Room, Status, Timeouts, derive, participant_sessions
from tests.lifecycle.history import agent, at, candidate, derive_checked, ended, facts, room

TIMED_OUT = "CONNECTION_TIMEOUT"
DELETED = "ROOM_DELETED"
DAY = 24 * 3600
CANCELLED = facts(candidate(1, 61), agent(2, 60, outcome=Outcome.PENDING), cancelled_at=at(60))


def effects(given: Facts, now: float) -> tuple[object, ...]:
    return derive(given, at(now)).effects


class TestDecisions:
    def test_an_answer_of_livekit_from_a_clock_that_is_ahead_decides_nothing_before_its_time(self) -> None:
        given = facts(candidate(1, 60), agent(2), checked_at=at(200))
        assert derive(given, at(179)).status is Status.RECONNECTING

    def test_a_start_at_the_instant_of_the_end_is_a_start(self) -> None:
        assert derive_checked(facts(candidate(1), agent(2), cancelled_at=at(2))).started_at == at(2)
        assert derive_checked(facts(candidate(1), agent(2), cancelled_at=at(1.999))).started_at is None

    @pytest.mark.parametrize(("now", "is_due"), [(179.999, False), (180, True)])
    def test_what_is_not_due_is_not_undecided(self, now: float, is_due: bool) -> None:
        assert (derive(facts(candidate(1, 60), agent(2)), at(now)).undecided is not None) == is_due


class TestTheRoomOfAnEndedAttempt:
    @pytest.mark.parametrize(
        "given",
        [
            pytest.param(facts(rooms=(room(),), cancelled_at=at(60)), id="it was seen"),
            pytest.param(facts(last_token_at=at(9), cancelled_at=at(60)), id="a token can make it"),
            pytest.param(facts(candidate(1), cancelled_at=at(60)), id="somebody was in it"),
        ],
    )
    def test_it_may_exist(self, given: Facts) -> None:
        assert effects(given, 61) == (DeleteRoom(at(60)),)

    def test_deleted_at_the_instant_of_the_end_it_is_deleted(self) -> None:
        given = facts(candidate(1, 59), agent(2, 58, outcome=Outcome.PENDING), cancelled_at=at(60))
        assert effects(replace(given, room_gone_at=at(60)), 61) == ()
        assert effects(replace(given, room_gone_at=at(59.999)), 61) == (DeleteRoom(at(60)),)

    def test_a_room_that_is_there_again(self) -> None:
        given = replace(CANCELLED, room_gone_at=at(71))
        assert effects(given, 100) == ()
        assert effects(replace(given, rooms=(room(ended=71), room("RM_2", 90))), 100) == (DeleteRoom(at(60)),)
        assert effects(replace(given, rooms=(room(ended=71), room("RM_2", 90, ended=95))), 100) == ()

    def test_who_came_and_left_again_or_only_looks_on_does_not_bring_it_back(self) -> None:
        given = replace(CANCELLED, room_gone_at=at(71))
        assert effects(replace(given, connections=(candidate(90, 95),)), 100) == ()
        assert effects(replace(given, connections=(replace(candidate(90), role=Role.OTHER),)), 100) == ()

    def test_who_was_seen_after_the_deletion_does(self) -> None:
        given = replace(CANCELLED, connections=(candidate(1, seen_at=at(80)),), room_gone_at=at(71))
        assert effects(given, 100) == (DeleteRoom(at(60)),)

    @pytest.mark.parametrize(("now", "count"), [(60 + DAY - 0.001, 1), (60 + DAY, 0)])
    def test_after_a_day_it_is_left_alone(self, now: float, count: int) -> None:
        assert len(effects(CANCELLED, now)) == count
        assert len(effects(replace(CANCELLED, checked_at=at(90)), 89 + DAY)) == 1

    def test_without_dispatching_none_is_dispatched(self) -> None:
        assert derive(facts(candidate(1)), at(50), Timeouts(dispatch_after=None)).effects == ()


class TestLosses:
    def test_a_candidates_own_leave_at_that_instant_takes_nobody_with_it(self) -> None:
        """Only what was inferred of both had one cause."""
        crashes = [agent(2, 10, TIMED_OUT), agent(20, 30, TIMED_OUT), agent(40, missing_at=at(50))]
        given = facts(candidate(1, 50), candidate(45), *crashes, checked_at=at(51))
        assert derive(given, at(51)).rule == "agent_lost"

    def test_of_two_agents_the_later_leave_counts_though_it_is_known_first(self) -> None:
        given = facts(candidate(1), agent(2, 60, TIMED_OUT), agent(3, missing_at=at(59.5)))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 150)

    def test_the_leave_of_a_candidates_older_sid_is_not_an_agents(self) -> None:
        given = facts(candidate(1, 50), candidate(40), agent(2, 30, TIMED_OUT))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 130)


class TestAbsences:
    def test_none_begins_while_a_newer_sid_is_connected(self) -> None:
        given = facts(candidate(1, 41), candidate(40), agent(2))
        assert ended(given) == ("COMPLETED", "MAX_DURATION_REACHED", 1802)


class TestRooms:
    def test_a_deleted_room_that_is_there_again_is_not_known_to_be_gone(self) -> None:
        given = facts(candidate(1, 60, DELETED), agent(2, 60, DELETED), rooms=(room(),))
        assert ended(given) == ("FAILED", "AGENT_UNAVAILABLE", 180)

    def test_a_missing_room_closes_who_was_in_it(self) -> None:
        given = facts(candidate(1), agent(2), rooms=(Room("RM_1", at(0), missing_at=at(40)),))
        assert ended(given) == ("FAILED", "CONNECTION_LOST", 160)

    def test_who_joins_at_the_instant_of_the_snapshot_was_not_missing(self) -> None:
        missed = Room("RM_1", at(0), missing_at=at(50))
        assert derive(facts(candidate(50), agent(51), rooms=(missed,)), at(60)).status is Status.IN_PROGRESS

    def test_who_joins_a_finished_room_has_left_at_once(self) -> None:
        given = facts(candidate(50), agent(51), rooms=(room(ended=40),))
        assert derive(given, at(60)).status is Status.READY_TO_JOIN

    def test_who_joins_at_the_instant_of_the_deletion_is_deleted_with_it(self) -> None:
        (deleted,) = participant_sessions(facts(candidate(71), room_gone_at=at(71)))
        assert deleted.departure is not None
        (later,) = participant_sessions(facts(candidate(71.001), room_gone_at=at(71)))
        assert later.departure is None

    def test_a_room_closed_under_one_agent_closes_no_other(self) -> None:
        given = facts(candidate(1, room_sid="RM_2"), agent(2, 160, "ROOM_CLOSED"), agent(3))
        assert derive(given, at(170)).status is Status.IN_PROGRESS

    def test_nor_does_a_candidates_own_leave_for_that_reason(self) -> None:
        given = facts(candidate(1, 160, "ROOM_CLOSED"), candidate(170), agent(2))
        assert derive(given, at(175)).status is Status.IN_PROGRESS

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_two_agents_under_which_it_was_closed_the_first_counts(self, turned: bool) -> None:
        closed = [agent(joined, left, "ROOM_CLOSED", outcome=Outcome.PENDING) for joined, left in ((2, 160), (3, 162))]
        given = facts(candidate(1, missing_at=at(300)), *(reversed(closed) if turned else closed))
        assert ended(given) == ("FAILED", "CONNECTION_LOST", 280)


def test_talk_time_is_counted_from_the_start() -> None:
    assert derive(facts(candidate(1), agent(2), cancelled_at=at(5)), at(6)).talk_time == timedelta(seconds=3)

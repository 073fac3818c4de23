"""What derive() makes of evidence that is late, lost, inferred or contradictory; deadlines, effects, talk time."""

from dataclasses import replace
from datetime import timedelta

from app.lifecycle import AnnounceTimeLeft, DeleteRoom, DispatchAgent, Outcome, Room, Status, derive
from tests.lifecycle.history import agent, at, candidate, derive_checked, ended, facts, report, room


class TestWhatClosesAConnection:
    def test_a_newer_sid_of_the_same_identity(self) -> None:
        given = facts(candidate(1), candidate(50), agent(2))
        assert derive(given, at(60)).status is Status.IN_PROGRESS
        gone = facts(candidate(1), candidate(50, 60), agent(2))
        assert derive(gone, at(61)).status is Status.RECONNECTING

    def test_duplicate_identity_closes_its_own_sid_only_in_either_order(self) -> None:
        for order in (1, 10_000_000):
            given = facts(candidate(1, 51, "DUPLICATE_IDENTITY", left_order=order), candidate(50.5), agent(2))
            assert derive(given, at(60)).status is Status.IN_PROGRESS

    def test_a_room_that_was_missed_does_not_close_who_came_after(self) -> None:
        missed = Room("RM_1", at(0), missing_at=at(40))
        assert derive(facts(candidate(50), agent(51), rooms=(missed,)), at(60)).status is Status.IN_PROGRESS

    def test_a_newer_room_of_the_same_name(self) -> None:
        given = facts(candidate(1), agent(2), rooms=(room(), room("RM_2", created=40)))
        assert ended(given) == ("FAILED", "CONNECTION_LOST", 160)

    def test_the_end_of_its_room(self) -> None:
        given = facts(candidate(1), agent(2), rooms=(room(ended=40),))
        assert derive(given, at(41)).status is Status.RECONNECTING

    def test_the_room_that_was_closed_under_the_agent(self) -> None:
        """The candidate's leave was lost: LiveKit closes a room only once the candidate has been gone for a while."""
        closed = agent(2, 160, "ROOM_CLOSED", outcome=Outcome.PENDING)
        given = facts(candidate(1, missing_at=at(300)), closed, rooms=(room(ended=160),))
        assert ended(given) == ("FAILED", "CONNECTION_LOST", 280)

    def test_being_missing_when_livekit_is_asked(self) -> None:
        given = facts(candidate(1, missing_at=at(40)), agent(2, missing_at=at(40)))
        assert ended(given) == ("FAILED", "CONNECTION_LOST", 160)

    def test_a_webhook_beats_inference(self) -> None:
        given = facts(candidate(1, 30, missing_at=at(40)), agent(2))
        assert ended(given) == ("ABANDONED", "CANDIDATE_LEFT", 150)

    def test_a_joined_after_its_own_left_stays_left(self) -> None:
        given = facts(candidate(10.9, 10.5, joined_order=9, left_order=3), agent(2))
        assert derive(given, at(12)).status is Status.RECONNECTING

    def test_a_newer_sid_whose_webhook_was_overtaken_in_its_second(self) -> None:
        given = facts(candidate(10.2, joined_order=7), candidate(10.6, 12, joined_order=5), agent(2))
        assert derive(given, at(12)).status is Status.RECONNECTING


class TestRejoinWithinASecond:
    def test_left_then_joined(self) -> None:
        given = facts(candidate(1, 11, left_order=5), candidate(10.7, joined_order=6), agent(2))
        assert derive(given, at(12)).status is Status.IN_PROGRESS

    def test_both_leave_and_only_one_comes_back(self) -> None:
        given = facts(candidate(1, 11, left_order=5), candidate(10.2, 11, joined_order=6, left_order=7), agent(2))
        assert derive(given, at(12)).status is Status.RECONNECTING


class TestTalkTime:
    def test_a_second_is_not_counted_twice_when_a_second_device_takes_over(self) -> None:
        first = candidate(0, 51, "DUPLICATE_IDENTITY", left_order=50_000)
        given = facts(first, candidate(50.1, joined_order=50_001), agent(0), cancelled_at=at(60))
        assert derive_checked(given).talk_time == timedelta(seconds=60)

    def test_it_sums_up_what_both_were_there(self) -> None:
        given = facts(candidate(0, 60), candidate(70, 100), agent(10, 90, outcome=Outcome.COMPLETED))
        assert derive_checked(given).talk_time == timedelta(seconds=50 + 20)

    def test_while_both_are_there_it_tells_since_when(self) -> None:
        found = derive(facts(candidate(0, 60), candidate(70), agent(10)), at(100))
        assert (found.talk_time, found.talking_since) == (timedelta(seconds=50), at(70))

    def test_it_ends_with_the_attempt(self) -> None:
        found = derive_checked(facts(candidate(0), agent(10), cancelled_at=at(40)))
        assert (found.talk_time, found.talking_since) == (timedelta(seconds=30), None)


class TestNextDeadline:
    def test_of_a_waiting_candidate_the_dispatch_comes_first(self) -> None:
        assert derive(facts(candidate(1)), at(2)).next_deadline_at == at(31)
        assert derive(facts(candidate(1), dispatched_at=at(32)), at(33)).next_deadline_at == at(91)

    def test_of_a_conversation_it_is_the_maximum_duration(self) -> None:
        assert derive(facts(candidate(1), agent(2), announced=timedelta(0)), at(3)).next_deadline_at == at(1802)

    def test_before_anybody_came_it_is_the_window(self) -> None:
        assert derive(facts(closes_at=at(600)), at(0)).next_deadline_at == at(600)
        assert derive(facts(closes_at=at(600), last_token_at=at(599)), at(599)).next_deadline_at == at(719)


class TestEffects:
    def test_an_agent_once_for_each_loss(self) -> None:
        assert derive(facts(candidate(1)), at(2)).effects == (DispatchAgent(at(31)),)
        assert derive(facts(candidate(1), dispatched_at=at(32)), at(33)).effects == ()
        lost = facts(candidate(1), agent(34, 60, "CONNECTION_TIMEOUT"), dispatched_at=at(32))
        assert DispatchAgent(at(90)) in derive(lost, at(61)).effects
        assert derive(replace(lost, dispatched_at=at(91), announced=timedelta(0)), at(92)).effects == ()

    def test_a_dispatch_for_a_loss_that_was_taken_back_does_not_count_for_the_next(self) -> None:
        """The agent seemed to be lost at 40 and one was sent for at 70; it was there all along, and is lost at 200."""
        lost = facts(candidate(1), agent(2, 200, "CONNECTION_TIMEOUT"), dispatches=1, dispatched_at=at(70))
        assert DispatchAgent(at(230)) in derive(lost, at(201)).effects

    def test_no_agent_is_dispatched_while_one_is_connected_or_the_candidate_is_not(self) -> None:
        assert derive(facts(candidate(1), agent(2), announced=timedelta(0)), at(3)).effects == ()
        gone = facts(candidate(1, 5), agent(2, 4, outcome=Outcome.PENDING), announced=timedelta(0))
        assert derive(gone, at(6)).effects == ()

    def test_the_room_goes_at_once_after_cancel_and_maximum_duration(self) -> None:
        assert derive_checked(facts(candidate(1), agent(2), cancelled_at=at(60))).effects == (DeleteRoom(at(60)),)
        assert derive_checked(facts(candidate(1), agent(2))).effects == (DeleteRoom(at(1802)),)

    def test_otherwise_a_goodbye_later(self) -> None:
        assert derive_checked(facts(candidate(1), agent(2), reports=(report(60),))).effects == (DeleteRoom(at(70)),)

    def test_once_deleted_it_is_not_deleted_again_until_a_join_recreates_it(self) -> None:
        ended = derive_checked(facts(candidate(1, 61), agent(2, 60)))
        gone = facts(candidate(1, 61), agent(2, 60), decision=ended.decision, room_gone_at=at(71))
        assert derive(gone, at(80)).effects == ()
        back = facts(candidate(1, 61), agent(2, 60), candidate(90), decision=ended.decision, room_gone_at=at(71))
        assert derive(back, at(91)).effects == (DeleteRoom(at(70)),)

    def test_the_time_left_is_announced_five_minutes_and_one_before_the_end(self) -> None:
        given = facts(candidate(1), agent(2))
        assert derive(given, at(3)).effects == (AnnounceTimeLeft(at(1502), timedelta(minutes=5)),)
        announced = facts(candidate(1), agent(2), announced=timedelta(minutes=5))
        assert derive(announced, at(1503)).effects == (AnnounceTimeLeft(at(1742), timedelta(minutes=1)),)
        assert derive(facts(candidate(1), agent(2), announced=timedelta(minutes=1)), at(1743)).effects == ()

    def test_a_short_conversation_gets_only_the_shorter_announcement(self) -> None:
        given = facts(candidate(1), agent(2), max_duration=timedelta(minutes=3))
        assert derive(given, at(3)).effects == (AnnounceTimeLeft(at(122), timedelta(minutes=1)),)

    def test_a_room_that_can_not_exist_is_not_deleted(self) -> None:
        assert derive_checked(facts(closes_at=at(600))).effects == ()

"""Agents that finish an interview, crash, or never join."""

from simulator.history import millis
from simulator.history_builder import HistoryBuilder
from simulator.scenarios.registry import detects_disconnect_within_grace, scenario
from simulator.timing import MARGIN


@scenario(20)
def agent_announces_completed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(4)
def agent_announces_failed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_leaves("failed")
    interview.expect_end("FAILED", "AGENT_REPORTED")


@scenario(12)
def agent_announces_nothing(interview: HistoryBuilder) -> None:
    interview.meet()
    interview.talk()
    interview.agent_leaves()
    interview.expect_end("COMPLETED", "AGENT_LEFT")


@scenario(4)
def agent_completes_and_deletes_the_room(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_announces("completed")
    interview.delete_room()
    interview.expect_end("COMPLETED", "AGENT_REPORTED", at=interview.closed[-1].left)


@scenario(4)
def agent_deletes_the_room(interview: HistoryBuilder) -> None:
    interview.meet()
    interview.talk()
    interview.expect_end("COMPLETED", "ROOM_DELETED")
    interview.delete_room()


@scenario(2)
def room_deleted_under_an_agent_at_work(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.candidate_grace)
    interview.delete_room()


@scenario(4)
def agent_posts_completed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_reports("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")
    interview.pause(0.2, 3)
    interview.agent_leaves("completed")


@scenario(2)
def agent_posts_failed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_reports("failed")
    interview.expect_end("FAILED", "AGENT_REPORTED")
    interview.pause(0.2, 3)
    interview.agent_leaves()


@scenario(2)
def agent_posts_completed_when_it_had_failed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.candidate_disconnects()
    interview.expect_end("COMPLETED", "AGENT_REPORTED", after=interview.timing.candidate_grace)
    interview.pause(interview.timing.candidate_grace + 2 * MARGIN, interview.timing.candidate_grace + 10 * MARGIN)
    interview.agent_reports("completed")


@scenario(6)
def an_avatar_and_a_recruiter_come_and_go(interview: HistoryBuilder) -> None:
    interview.request_token()
    interview.pause(0.2, 1)
    interview.listener_joins()
    interview.pause(0.2, 1)
    interview.meet("pending")
    interview.pause(0.2, 1)
    interview.avatar_joins()
    interview.pause(0.2, 1)
    interview.recruiter_joins()
    interview.talk()
    interview.avatar_leaves()
    interview.pause(MARGIN, 3 * MARGIN)
    interview.recruiter_leaves()
    interview.pause(MARGIN, 3 * MARGIN)
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


# Agents that fail


@scenario(4)
def agent_raises(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_leaves()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.agent_wait)


@scenario(4, detects_disconnect_within_grace)
def agent_killed(interview: HistoryBuilder) -> None:
    interview.meet(interview.rng.choice(["pending", None]))
    interview.talk()
    interview.agent_crashes()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.agent_wait)


@scenario(4, lambda timing: timing.agent_wait > 3 * MARGIN)
def agents_raise_again_and_again(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    for _ in range(2):
        interview.talk()
        interview.agent_leaves()
        interview.pause(MARGIN, 2 * MARGIN)
        interview.agent_joins("pending")
    interview.talk()
    interview.agent_leaves()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE")


@scenario(2, lambda timing: timing.agent_wait > 4 * MARGIN)
def no_other_agent_for_who_reconnects_until_max_duration(interview: HistoryBuilder) -> None:
    """Each reconnect restarts the wait for an agent, so only the maximum duration ends it."""
    wait = interview.timing.agent_wait
    interview.max_duration = max(interview.timing.overrun_max_duration, round(3 * wait))
    interview.meet("pending")
    interview.pause(1.5, 2 * MARGIN)
    interview.agent_leaves()
    over = (interview.started or 0) + millis(interview.max_duration)
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", at=over)
    while interview.now < over:
        interview.pause(wait - 3 * MARGIN, wait - MARGIN)
        interview.second_device_joins()


@scenario(2)
def agent_outlives_the_grace_and_leaves_with_completed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.candidate_leaves()
    interview.expect_end("COMPLETED", "AGENT_REPORTED", after=interview.timing.candidate_grace)
    interview.pause(interview.timing.candidate_grace + 1.5, interview.timing.candidate_grace + 2.5)
    interview.agent_leaves("completed")


@scenario(4, detects_disconnect_within_grace)
def candidate_gives_up_after_the_agent_was_killed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_crashes()
    interview.pause(MARGIN, interview.timing.agent_wait - MARGIN)
    interview.candidate_leaves()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.candidate_grace)


@scenario(4, lambda timing: timing.agent_wait > 4 * MARGIN)
def another_agent_comes(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_leaves()
    interview.pause(MARGIN, interview.timing.agent_wait - MARGIN)
    interview.agent_joins("pending")
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(4, lambda timing: timing.agent_wait > timing.dispatch_after + 5 * MARGIN, needs_dispatch=True)
def another_agent_is_dispatched(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.agent_leaves()
    interview.pause(interview.timing.agent_wait - 2 * MARGIN, interview.timing.agent_wait - MARGIN)
    interview.agent_joins("pending", dispatched=True)
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(4)
def no_agent(interview: HistoryBuilder) -> None:
    interview.candidate_joins()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.agent_wait)


@scenario(2, lambda timing: timing.agent_wait > 3 * MARGIN)
def no_agent_for_a_second_device(interview: HistoryBuilder) -> None:
    interview.candidate_joins()
    interview.pause(MARGIN, interview.timing.agent_wait - MARGIN)
    interview.second_device_joins()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.agent_wait)

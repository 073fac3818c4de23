"""Join windows that pass, interviews that overrun, cancellations, and LiveKit servers that are killed."""

from simulator.history import millis
from simulator.history_builder import HistoryBuilder
from simulator.scenarios.registry import scenario, separates_waiting_from_looking_in
from simulator.timing import MARGIN


@scenario(4)
def no_show(interview: HistoryBuilder) -> None:
    interview.closes = millis(interview.rng.uniform(10, 60))
    interview.expect_end("NO_SHOW", at=interview.closes)


@scenario(4)
def token_but_no_connection(interview: HistoryBuilder) -> None:
    interview.closes = millis(interview.rng.uniform(10, 60))
    interview.pause(0, interview.closes / 1000 - MARGIN)
    interview.request_token()
    interview.expect_end(
        "FAILED",
        "CANDIDATE_CONNECTION_FAILED",
        at=max(interview.closes, interview.tokens[-1] + millis(interview.timing.token_wait)),
    )


@scenario(2)
def no_media_ever(interview: HistoryBuilder) -> None:
    interview.closes = millis(interview.rng.uniform(10, 60))
    interview.request_token()
    interview.pause(0.4, 1.5)
    interview.candidate_gets_no_media()
    interview.expect_end(
        "FAILED", "CANDIDATE_CONNECTION_FAILED", at=max(interview.closes, millis(interview.timing.token_wait))
    )


@scenario(4, separates_waiting_from_looking_in)
def looked_in_and_left(interview: HistoryBuilder) -> None:
    interview.candidate_joins()
    interview.pause(1.5, interview.timing.candidate_waited - MARGIN)
    interview.candidate_leaves()
    closes_later(interview)
    interview.expect_end("ABANDONED", "LEFT_BEFORE_START", at=window_end(interview))


@scenario(4, separates_waiting_from_looking_in)
def waited_and_left(interview: HistoryBuilder) -> None:
    interview.candidate_joins()
    interview.pause(interview.timing.candidate_waited + MARGIN, interview.timing.agent_wait - MARGIN)
    interview.candidate_leaves()
    closes_later(interview)
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", at=window_end(interview))


def closes_later(interview: HistoryBuilder) -> None:
    """Set the join window's end clearly before or after the end of the candidate's grace."""
    grace = millis(interview.timing.candidate_grace)
    interview.closes = interview.now + (
        interview.rng.choice([grace // 3, 2 * grace]) if grace > millis(6 * MARGIN) else 3 * grace
    )


def window_end(interview: HistoryBuilder) -> int:
    leave, token = (
        interview.now + millis(interview.timing.candidate_grace),
        interview.tokens[-1] + millis(interview.timing.token_wait),
    )
    return max(interview.closes or 0, leave, token)


# Time limits and cancellations


@scenario(3)
def overrun(interview: HistoryBuilder) -> None:
    interview.max_duration = interview.timing.overrun_max_duration
    interview.meet(interview.rng.choice(["pending", None]))
    interview.expect_end(
        "COMPLETED", "MAX_DURATION_REACHED", at=(interview.started or 0) + millis(interview.max_duration)
    )
    interview.pause(interview.max_duration + MARGIN, interview.max_duration + 10 * MARGIN)


@scenario(3)
def cancelled_before_anybody_came(interview: HistoryBuilder) -> None:
    interview.pause(2, 20)
    interview.cancel()
    interview.expect_end("CANCELLED")


@scenario(2, lambda timing: timing.agent_wait > 2 * MARGIN)
def cancelled_while_waiting(interview: HistoryBuilder) -> None:
    interview.candidate_joins()
    interview.pause(1.5, interview.timing.agent_wait - MARGIN)
    interview.cancel()
    interview.expect_end("CANCELLED")


@scenario(2)
def cancelled_while_talking(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.cancel()
    interview.expect_end("CANCELLED")


# LiveKit's server is killed


@scenario(3, lambda timing: timing.candidate_grace > 3 * MARGIN)
def server_killed_and_both_return(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.kill_server()
    interview.pause(3, 7)
    interview.candidate_joins()
    interview.pause(0.2, 2)
    interview.agent_joins("pending")
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(2, lambda timing: timing.candidate_grace > 3 * MARGIN)
def server_killed_and_only_the_candidate_returns(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.kill_server()
    interview.pause(3, 7)
    interview.candidate_joins()
    interview.expect_end("FAILED", "AGENT_UNAVAILABLE", after=interview.timing.agent_wait)


@scenario(2, needs_polling=True)
def server_killed_for_good(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.kill_server()
    interview.expect_end("FAILED", "CONNECTION_LOST", after=interview.timing.candidate_grace)


# Still running when the simulation ends


@scenario(2)
def talks_on(interview: HistoryBuilder) -> None:
    interview.max_duration = 14_400
    interview.meet("pending")
    interview.expect_running("IN_PROGRESS")


@scenario(2)
def token_and_no_end_of_the_window(interview: HistoryBuilder) -> None:
    interview.pause(0, 20)
    interview.request_token()
    interview.expect_running("READY_TO_JOIN")

"""Candidates that disconnect, return, walk out or change the device."""

from simulator.history_builder import HistoryBuilder
from simulator.scenarios.registry import detects_disconnect_within_grace, scenario
from simulator.timing import DETECTION_TIME, MARGIN


@scenario(8, detects_disconnect_within_grace)
def candidate_drops_and_returns(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.candidate_disconnects()
    interview.pause(DETECTION_TIME + MARGIN, interview.timing.candidate_grace - MARGIN)
    interview.candidate_joins()
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(4, lambda timing: timing.candidate_grace > 2 * MARGIN)
def candidate_returns_before_livekit_noticed(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.candidate_disconnects()
    interview.pause(2, min(DETECTION_TIME, interview.timing.candidate_grace) - MARGIN)
    interview.candidate_joins()
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(4, lambda timing: timing.candidate_grace > 2 * MARGIN)
def candidate_reloads_the_page(interview: HistoryBuilder) -> None:
    interview.meet()
    interview.talk()
    interview.candidate_leaves()
    interview.pause(1.5, min(20, interview.timing.candidate_grace - MARGIN))
    if interview.rng.random() < 0.5:
        interview.request_token()
    interview.candidate_joins()
    interview.talk()
    interview.agent_leaves()
    interview.expect_end("COMPLETED", "AGENT_LEFT")


@scenario(6)
def candidate_lost_for_good(interview: HistoryBuilder) -> None:
    interview.meet(interview.rng.choice(["pending", None]))
    interview.talk()
    interview.candidate_disconnects()
    interview.expect_end("FAILED", "CONNECTION_LOST", after=interview.timing.candidate_grace)


@scenario(6)
def candidate_walks_out(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.candidate_leaves()
    interview.expect_end("ABANDONED", "CANDIDATE_LEFT", after=interview.timing.candidate_grace)


@scenario(6)
def the_agent_follows_the_candidate(interview: HistoryBuilder) -> None:
    """Within 0.1 s, mostly in the same second of createdAt: only the order of the events shows who left first."""
    interview.meet(interview.rng.choice(["pending", None]))
    interview.talk()
    interview.candidate_leaves()
    interview.expect_end("ABANDONED", "CANDIDATE_LEFT", after=interview.timing.candidate_grace)
    interview.now += interview.rng.randint(40, 60)
    interview.agent_leaves()


@scenario(3)
def candidate_returns_too_late(interview: HistoryBuilder) -> None:
    """With the old token, into a new room that LiveKit creates for it."""
    interview.meet("pending")
    interview.talk()
    interview.candidate_leaves()
    interview.expect_end("ABANDONED", "CANDIDATE_LEFT", after=interview.timing.candidate_grace)
    interview.pause(interview.timing.departure_timeout + MARGIN, interview.timing.departure_timeout + 10 * MARGIN)
    interview.candidate_joins()
    interview.pause(2 * MARGIN, 5 * MARGIN)


@scenario(6)
def second_device(interview: HistoryBuilder) -> None:
    interview.meet("pending")
    interview.talk()
    interview.second_device_joins()
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")


@scenario(3, lambda timing: timing.candidate_grace > 3 * MARGIN)
def short_visits_before_the_start(interview: HistoryBuilder) -> None:
    for _ in range(interview.rng.randint(1, 3)):
        interview.candidate_joins()
        interview.pause(1.2, 2.5)
        interview.candidate_leaves()
        interview.pause(1.5, 2 * MARGIN)
    interview.meet("pending")
    interview.talk()
    interview.agent_leaves("completed")
    interview.expect_end("COMPLETED", "AGENT_REPORTED")

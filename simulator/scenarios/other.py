"""What else happens: the window passes, time is up, the recruiter cancels, LiveKit is killed."""

from simulator.history import millis
from simulator.history_builder import Story
from simulator.scenarios.registry import kind, patient
from simulator.timing import MARGIN


@kind(4)
def no_show(story: Story) -> None:
    story.closes = millis(story.rng.uniform(10, 60))
    story.ends("NO_SHOW", at=story.closes)


@kind(4)
def token_but_no_connection(story: Story) -> None:
    story.closes = millis(story.rng.uniform(10, 60))
    story.pause(0, story.closes / 1000 - MARGIN)
    story.asks_for_token()
    story.ends(
        "FAILED", "CANDIDATE_CONNECTION_FAILED", at=max(story.closes, story.tokens[-1] + millis(story.pace.token))
    )


@kind(2)
def no_media_ever(story: Story) -> None:
    story.closes = millis(story.rng.uniform(10, 60))
    story.asks_for_token()
    story.pause(0.4, 1.5)
    story.never_gets_media()
    story.ends("FAILED", "CANDIDATE_CONNECTION_FAILED", at=max(story.closes, millis(story.pace.token)))


@kind(4, patient)
def looked_in_and_left(story: Story) -> None:
    story.candidate_comes()
    story.pause(1.5, story.pace.waited - MARGIN)
    story.candidate_leaves()
    closes_later(story)
    story.ends("ABANDONED", "LEFT_BEFORE_START", at=window_end(story))


@kind(4, patient)
def waited_and_left(story: Story) -> None:
    story.candidate_comes()
    story.pause(story.pace.waited + MARGIN, story.pace.agent - MARGIN)
    story.candidate_leaves()
    closes_later(story)
    story.ends("FAILED", "AGENT_UNAVAILABLE", at=window_end(story))


def closes_later(story: Story) -> None:
    """The window ends noticeably before or after the grace of the leave just now."""
    grace = millis(story.pace.grace)
    story.closes = story.now + (story.rng.choice([grace // 3, 2 * grace]) if grace > millis(6 * MARGIN) else 3 * grace)


def window_end(story: Story) -> int:
    leave, token = story.now + millis(story.pace.grace), story.tokens[-1] + millis(story.pace.token)
    return max(story.closes or 0, leave, token)


# Time, and the recruiter


@kind(3)
def overrun(story: Story) -> None:
    story.max_duration = story.pace.overrun
    story.meet(story.rng.choice(["pending", None]))
    story.ends("COMPLETED", "MAX_DURATION_REACHED", after=0, at=(story.started or 0) + millis(story.max_duration))
    story.pause(story.max_duration + MARGIN, story.max_duration + 10 * MARGIN)


@kind(3)
def cancelled_before_anybody_came(story: Story) -> None:
    story.pause(2, 20)
    story.cancel()
    story.ends("CANCELLED")


@kind(2, lambda pace: pace.agent > 2 * MARGIN)
def cancelled_while_waiting(story: Story) -> None:
    story.candidate_comes()
    story.pause(1.5, story.pace.agent - MARGIN)
    story.cancel()
    story.ends("CANCELLED")


@kind(2)
def cancelled_while_talking(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.cancel()
    story.ends("CANCELLED")


# LiveKit's server is killed


@kind(3, lambda pace: pace.grace > 3 * MARGIN)
def server_killed_and_both_return(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.server_killed()
    story.pause(3, 7)
    story.candidate_comes()
    story.pause(0.2, 2)
    story.agent_comes("pending")
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(2, lambda pace: pace.grace > 3 * MARGIN)
def server_killed_and_only_the_candidate_returns(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.server_killed()
    story.pause(3, 7)
    story.candidate_comes()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.agent)


@kind(2, needs_asking=True)
def server_killed_for_good(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.server_killed()
    story.ends("FAILED", "CONNECTION_LOST", after=story.pace.grace)


# Not over when the simulation is


@kind(2)
def talks_on(story: Story) -> None:
    story.max_duration = 14_400
    story.meet("pending")
    story.lives("IN_PROGRESS")


@kind(2)
def token_and_no_end_of_the_window(story: Story) -> None:
    story.pause(0, 20)
    story.asks_for_token()
    story.lives("READY_TO_JOIN")

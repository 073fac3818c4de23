"""What candidates do once it has started: they drop, return, walk out, change the device."""

from simulator.history_builder import Story
from simulator.scenarios.registry import kind, slow
from simulator.timing import MARGIN, NOTICE


@kind(8, slow)
def candidate_drops_and_returns(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.candidate_lost()
    story.pause(NOTICE + MARGIN, story.pace.grace - MARGIN)
    story.candidate_comes()
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(4, lambda pace: pace.grace > 2 * MARGIN)
def candidate_returns_before_livekit_noticed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.candidate_lost()
    story.pause(2, min(NOTICE, story.pace.grace) - MARGIN)
    story.candidate_comes()
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(4, lambda pace: pace.grace > 2 * MARGIN)
def candidate_reloads_the_page(story: Story) -> None:
    story.meet()
    story.talk()
    story.candidate_leaves()
    story.pause(1.5, min(20, story.pace.grace - MARGIN))
    if story.rng.random() < 0.5:
        story.asks_for_token()
    story.candidate_comes()
    story.talk()
    story.agent_leaves()
    story.ends("COMPLETED", "AGENT_LEFT")


@kind(6)
def candidate_lost_for_good(story: Story) -> None:
    story.meet(story.rng.choice(["pending", None]))
    story.talk()
    story.candidate_lost()
    story.ends("FAILED", "CONNECTION_LOST", after=story.pace.grace)


@kind(6)
def candidate_walks_out(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.candidate_leaves()
    story.ends("ABANDONED", "CANDIDATE_LEFT", after=story.pace.grace)


@kind(6)
def the_agent_follows_the_candidate(story: Story) -> None:
    """Within a tenth of a second, mostly in the same second of createdAt: only the queue's order tells."""
    story.meet(story.rng.choice(["pending", None]))
    story.talk()
    story.candidate_leaves()
    story.ends("ABANDONED", "CANDIDATE_LEFT", after=story.pace.grace)
    story.now += story.rng.randint(40, 60)
    story.agent_leaves()


@kind(3)
def candidate_returns_too_late(story: Story) -> None:
    """With the old token, into a room that its return has made anew."""
    story.meet("pending")
    story.talk()
    story.candidate_leaves()
    story.ends("ABANDONED", "CANDIDATE_LEFT", after=story.pace.grace)
    story.pause(story.pace.departure + MARGIN, story.pace.departure + 10 * MARGIN)
    story.candidate_comes()
    story.pause(2 * MARGIN, 5 * MARGIN)


@kind(6)
def second_device(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.second_device()
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(3, lambda pace: pace.grace > 3 * MARGIN)
def short_visits_before_the_start(story: Story) -> None:
    for _ in range(story.rng.randint(1, 3)):
        story.candidate_comes()
        story.pause(1.2, 2.5)
        story.candidate_leaves()
        story.pause(1.5, 2 * MARGIN)
    story.meet("pending")
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")

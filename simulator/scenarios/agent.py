"""What agents do: they bring an interview to an end, crash, or never come."""

from simulator.history_builder import Story
from simulator.scenarios.registry import kind, slow
from simulator.timing import MARGIN


@kind(20)
def agent_announces_completed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(4)
def agent_announces_failed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.agent_leaves("failed")
    story.ends("FAILED", "AGENT_REPORTED")


@kind(12)
def agent_announces_nothing(story: Story) -> None:
    story.meet()
    story.talk()
    story.agent_leaves()
    story.ends("COMPLETED", "AGENT_LEFT")


@kind(4)
def agent_completes_and_deletes_the_room(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.announces("completed")
    story.room_deleted()
    story.ends("COMPLETED", "AGENT_REPORTED", at=story.over[-1].left)


@kind(4)
def agent_deletes_the_room(story: Story) -> None:
    story.meet()
    story.talk()
    story.ends("COMPLETED", "ROOM_DELETED")
    story.room_deleted()


@kind(2)
def room_deleted_under_an_agent_at_work(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.grace)
    story.room_deleted()


@kind(4)
def agent_posts_completed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.report("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")
    story.pause(0.2, 3)
    story.agent_leaves("completed")


@kind(2)
def agent_posts_failed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.report("failed")
    story.ends("FAILED", "AGENT_REPORTED")
    story.pause(0.2, 3)
    story.agent_leaves()


@kind(2)
def agent_posts_completed_when_it_had_failed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.candidate_lost()
    story.ends("COMPLETED", "AGENT_REPORTED", after=story.pace.grace)
    story.pause(story.pace.grace + 2 * MARGIN, story.pace.grace + 10 * MARGIN)
    story.report("completed")


@kind(6)
def an_avatar_and_a_watcher_come_and_go(story: Story) -> None:
    story.meet("pending")
    story.pause(0.2, 1)
    story.avatar_comes()
    story.pause(0.2, 1)
    story.watcher_comes()
    story.talk()
    story.avatar_leaves()
    story.pause(MARGIN, 3 * MARGIN)
    story.watcher_leaves()
    story.pause(MARGIN, 3 * MARGIN)
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


# Agents that fail


@kind(4)
def agent_raises(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.agent_leaves()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.agent)


@kind(4, slow)
def agent_killed(story: Story) -> None:
    story.meet(story.rng.choice(["pending", None]))
    story.talk()
    story.agent_killed()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.agent)


@kind(4, slow)
def candidate_gives_up_after_the_agent_was_killed(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.agent_killed()
    story.pause(MARGIN, story.pace.agent - MARGIN)
    story.candidate_leaves()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.grace)


@kind(4, lambda pace: pace.agent > 4 * MARGIN)
def another_agent_comes(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.agent_leaves()
    story.pause(MARGIN, story.pace.agent - MARGIN)
    story.agent_comes("pending")
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(4, lambda pace: pace.agent > pace.dispatch + 5 * MARGIN, needs_dispatch=True)
def another_agent_is_dispatched(story: Story) -> None:
    story.meet("pending")
    story.talk()
    story.agent_leaves()
    story.pause(story.pace.agent - 2 * MARGIN, story.pace.agent - MARGIN)
    story.agent_comes("pending", dispatched=True)
    story.talk()
    story.agent_leaves("completed")
    story.ends("COMPLETED", "AGENT_REPORTED")


@kind(4)
def no_agent(story: Story) -> None:
    story.candidate_comes()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.agent)


@kind(2, lambda pace: pace.agent > 3 * MARGIN)
def no_agent_for_a_second_device(story: Story) -> None:
    story.candidate_comes()
    story.pause(MARGIN, story.pace.agent - MARGIN)
    story.second_device()
    story.ends("FAILED", "AGENT_UNAVAILABLE", after=story.pace.agent)

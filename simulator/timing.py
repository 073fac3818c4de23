"""How fast simulated interviews go: the waits of the deployment under test, and how long people stay."""

from dataclasses import dataclass, replace

NOTICE = 20.0
"""Seconds after which LiveKit notices a lost connection. It is LiveKit's own, and never goes faster."""

MARGIN = 3.0
"""Seconds by which two causes are kept apart. LiveKit dates a leave to the second and a lost connection to about
two, so nobody could tell what came first within less."""

SHORTEST = 2 * MARGIN + 1
"""Seconds: with shorter waits than these even a plain history could not be told from another."""


@dataclass(frozen=True, slots=True)
class Pace:
    """All in seconds. The first five are settings of the deployment and have to be the same there.

    There is no virtual clock: a deployment judges by its own, and so do LiveKit's timestamps. To go faster, both sides
    shorten the waits, and people's stays shrink alike; whole seconds and LiveKit's 20 s do not (NOTICE, MARGIN).
    Histories that can't be told apart at such a pace are left out, and named (`kinds.left_out`).
    """

    grace: float = 120
    agent: float = 90
    token: float = 120
    waited: float = 30
    dispatch: float = 30
    shortest_talk: float = 35
    longest_talk: float = 180
    overrun: int = 60  # the maxDuration of interviews that outlast it; the least that the service accepts

    def __post_init__(self) -> None:
        if min(self.grace, self.agent, self.token) < SHORTEST:
            raise ValueError(f"the waits for candidate, agent and token must be {SHORTEST:g} s or more: go slower")

    @property
    def departure(self) -> float:
        """LiveKit keeps a room that long after the candidate: the deployment asks for the grace plus 5 s."""
        return self.grace + 5

    def faster(self, factor: float) -> "Pace":
        """Every wait divided by `factor`, as whole seconds; talks keep a length that whole seconds can show."""
        return replace(
            self,
            grace=max(1, round(self.grace / factor)),
            agent=max(1, round(self.agent / factor)),
            token=max(1, round(self.token / factor)),
            waited=max(1, round(self.waited / factor)),
            dispatch=max(1, round(self.dispatch / factor)),
            shortest_talk=max(3 * MARGIN, self.shortest_talk / factor),
            longest_talk=max(5 * MARGIN, self.longest_talk / factor),
        )

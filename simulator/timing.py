"""How fast simulated interviews run: the waits of the deployment under test, and how long people stay."""

from dataclasses import dataclass, replace

DETECTION_TIME = 20.0
"""Seconds until LiveKit detects a lost connection. LiveKit sets it; `Timing.faster` does not change it."""

MARGIN = 3.0
"""Seconds between two competing causes. LiveKit dates a leave to the second, and a lost connection to about two
seconds, so the order of closer causes is unknown."""

MIN_WAIT = 2 * MARGIN + 1
"""Seconds. With shorter waits even the simplest scenarios look alike."""


@dataclass(frozen=True, slots=True)
class Timing:
    """All values are in seconds. The first five are settings of the deployment, which must have the same values.

    The clock is real: a deployment uses its own, and LiveKit's timestamps follow theirs. To run faster, shorten the
    waits on both sides. LiveKit's whole seconds and its DETECTION_TIME stay the same, so at high speed some scenarios
    have no clear result; they are skipped, and listed by `unusable_scenarios`.
    """

    candidate_grace: float = 120
    agent_wait: float = 90
    token_wait: float = 120
    candidate_waited: float = 30
    dispatch_after: float = 30
    shortest_talk: float = 35
    longest_talk: float = 180
    overrun_max_duration: int = 60  # maxDuration of interviews that exceed it; the lowest that the service accepts

    def __post_init__(self) -> None:
        if min(self.candidate_grace, self.agent_wait, self.token_wait) < MIN_WAIT:
            raise ValueError(
                f"CANDIDATE_GRACE, AGENT_WAIT and TOKEN_WAIT must be at least {MIN_WAIT:g} seconds: use a lower --speed"
            )

    @property
    def departure_timeout(self) -> float:
        """Seconds that LiveKit keeps a room after the candidate left: the deployment sets the grace plus 5."""
        return self.candidate_grace + 5

    def faster(self, factor: float) -> "Timing":
        """Divide every wait by `factor`, rounded to whole seconds. Talks stay long enough for whole seconds."""
        return replace(
            self,
            candidate_grace=max(1, round(self.candidate_grace / factor)),
            agent_wait=max(1, round(self.agent_wait / factor)),
            token_wait=max(1, round(self.token_wait / factor)),
            candidate_waited=max(1, round(self.candidate_waited / factor)),
            dispatch_after=max(1, round(self.dispatch_after / factor)),
            shortest_talk=max(3 * MARGIN, self.shortest_talk / factor),
            longest_talk=max(5 * MARGIN, self.longest_talk / factor),
        )

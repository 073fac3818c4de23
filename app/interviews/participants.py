"""Who somebody in a room is to the interview, and what an agent announces."""

import logging

from app.interviews.interview_rows import AnyInterview
from app.lifecycle import Outcome, Role
from app.livekit.access_tokens import Participant

log = logging.getLogger(__name__)

OUTCOME = "interview.outcome"  # the attribute by which an agent announces how the conversation went
ON_BEHALF = "lk.publish_on_behalf"  # an avatar, say, that publishes for an agent and is none itself


def role_of(who: Participant, interview: AnyInterview) -> Role:
    if who.kind == "AGENT" and not who.attributes.get(ON_BEHALF):
        return Role.AGENT
    if who.kind == "STANDARD" and not who.hidden and who.identity == interview.candidate_identity:
        return Role.CANDIDATE
    return Role.OTHER


def outcome_of(who: Participant) -> Outcome | None:
    """Return what the agent announced. What is no outcome that we know is at least not a completed conversation."""
    said = who.attributes.get(OUTCOME)
    if not said:
        return None
    if said not in set(Outcome):
        # not in its own words: whoever may set attributes may write there whatever they like
        log.warning("agent %s announced an outcome that is none of %s", who.sid, ", ".join(Outcome))
        return Outcome.PENDING
    return Outcome(said)

"""What may be stored of an interview whose personal data was erased: it is still heard of, by late webhooks."""

from collections.abc import Mapping
from typing import Any

from app.interviews.interview_rows import AnyInterview
from app.interviews.participants import role_of
from app.lifecycle import Outcome, Role
from app.livekit.access_tokens import Participant

# What stays of a timeline entry: instants, LiveKit's opaque ids, and words that only this service or LiveKit chooses.
KEPT = frozenset(
    {
        *("createdAt", "roomSid", "sid", "kind", "reason", "askedAt"),
        *("from", "to", "endReason", "endedAt", "startedAt", "talkTime", "why", "before"),
        *("fields", "expiresAt", "cameBack", "number", "secondsLeft"),
    }
)
LISTS = ("present", "joined", "gone")  # of identities


def identity_kept(who: Participant, interview: AnyInterview) -> str:
    """Return what may be stored of a participant's identity: once the data was erased, the role that it stands for."""
    return role_of(who, interview).lower() if interview.personal_data_erased_at else who.identity


def bare(detail: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, Any]:
    """Return a timeline entry's detail without what may name somebody. `roles` are by identity.

    What is not known to be harmless goes, so that an entry of a new kind keeps nothing until somebody thought of it.
    """
    kept = {name: value for name, value in detail.items() if name in KEPT}
    if detail.get("outcome") in set(Outcome):  # whoever may set attributes may write there whatever they like
        kept["outcome"] = detail["outcome"]
    if "identity" in detail:
        kept["identity"] = roles.get(detail["identity"], Role.OTHER).lower()
    lists = {name: detail[name] for name in LISTS if name in detail}
    return kept | {name: [roles.get(each, Role.OTHER).lower() for each in found] for name, found in lists.items()}

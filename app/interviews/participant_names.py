"""What the timeline calls a participant: by its role, as the status has it, whatever its identity looks like."""

from collections.abc import Mapping
from typing import Any

from app.lifecycle import Role

# Participants that are neither candidate nor interviewer, by LiveKit's kind.
_OTHERS = {
    "STANDARD": "participant {identity}",
    "AGENT": "helper agent {identity}",
    "EGRESS": "a recorder",
    "INGRESS": "a media stream {identity}",
    "SIP": "a phone caller {identity}",
}
_USUAL_KINDS = {"candidate": "STANDARD", "agent": "AGENT"}  # by the first word of the identity
_ERASED = {role.lower(): role for role in Role}  # what an erasure leaves of an identity


def participant_name(identity: str, seen: Mapping[str, Any]) -> str:
    """Return the name, for the middle of a sentence. `seen` has the role and LiveKit's kind, as far as known."""
    is_erased = identity in _ERASED
    shown = "" if is_erased else identity
    match _role(identity, seen):
        case Role.CANDIDATE:
            return "the candidate"
        case Role.AGENT:
            return f"the agent {shown}".rstrip()
    kind = str(seen.get("kind", "STANDARD"))
    if is_erased and kind == "STANDARD":
        return "someone"
    name = _OTHERS.get(kind, f"a participant of kind {kind} {{identity}}").format(identity=shown).rstrip()
    return f"hidden {name}" if seen.get("hidden") and kind in ("STANDARD", "AGENT") else name


def _role(identity: str, seen: Mapping[str, Any]) -> Role:
    """Return the role. An entry from before roles were stored has none: then identity and kind tell it."""
    if role := seen.get("role"):
        return Role(role)
    word = identity.partition("-")[0]
    is_usual = seen.get("kind", _USUAL_KINDS.get(word)) == _USUAL_KINDS.get(word)
    return _ERASED[word] if word in _ERASED and is_usual else Role.OTHER

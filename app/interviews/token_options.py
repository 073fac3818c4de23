"""The token options of LiveKit's standard token endpoint: a client may only ask for what its token holds anyway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.errors import TokenFieldNotAllowed


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """The fields of LiveKit's TokenSourceRequest, as JSON; None and empty values ask for nothing."""

    room_name: Any = None
    participant_name: Any = None
    participant_identity: Any = None
    participant_metadata: Any = None
    participant_attributes: Any = None
    room_config: Any = None
    sent_as: Mapping[str, str] = field(default_factory=dict)
    """The client's names of the fields, where they differ."""


def check_token_options(token_options: TokenOptions, claims: Mapping[str, Any]) -> TokenFieldNotAllowed | None:
    """Return a refusal that names the fields which the token's claims do not match; None if all match."""
    ours = {
        "room_name": claims["video"]["room"],
        "participant_name": claims["name"],
        "participant_identity": claims["sub"],
        "participant_metadata": claims["metadata"],
        "participant_attributes": {},
        "room_config": claims["roomConfig"],
    }
    refused = [name for name, value in ours.items() if not _matches(_normalize(getattr(token_options, name)), value)]
    message = "must be left out or equal the interview's value"
    errors = [{"field": token_options.sent_as.get(name, name), "message": message} for name in refused]
    return TokenFieldNotAllowed(errors=errors) if errors else None


def _normalize(value: Any) -> Any:
    """Return the value without empty parts, its keys in protojson's camelCase: clients send both spellings."""
    if isinstance(value, dict):
        normalized = {_camel(key): _normalize(inner) for key, inner in value.items()}
        return {key: inner for key, inner in normalized.items() if inner}
    if isinstance(value, list):
        return [inner for inner in map(_normalize, value) if inner]
    return value


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(map(str.capitalize, others))


def _matches(sent: Any, ours: Any) -> bool:
    """Return whether ours holds all that was sent; ours may hold more."""
    if not sent:
        return True
    if isinstance(sent, dict) and isinstance(ours, dict):
        return all(_matches(value, ours.get(key)) for key, value in sent.items())
    if isinstance(sent, list) and isinstance(ours, list):
        return len(sent) == len(ours) and all(map(_matches, sent, ours))
    return bool(sent == ours)

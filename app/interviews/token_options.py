"""What a client wishes its token to hold, by LiveKit's standard token endpoint: ours is given, or none."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from app.core.errors import TokenFieldNotAllowed


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """The fields of LiveKit's TokenSourceRequest, as JSON; what is None or empty is no wish."""

    room_name: Any = None
    participant_name: Any = None
    participant_identity: Any = None
    participant_metadata: Any = None
    participant_attributes: Any = None
    room_config: Any = None


def check_token_options(token_options: TokenOptions, claims: Mapping[str, Any]) -> TokenFieldNotAllowed | None:
    """Return the refusal, which names them, if there are wishes that the token's claims do not fulfil."""
    ours = {
        "room_name": claims["video"]["room"],
        "participant_name": claims["name"],
        "participant_identity": claims["sub"],
        "participant_metadata": claims["metadata"],
        "participant_attributes": {},
        "room_config": claims["roomConfig"],
    }
    refused = [
        each.name
        for each in fields(token_options)
        if not _is_ours(_said(getattr(token_options, each.name)), ours[each.name])
    ]
    message = "must be left out, or be what the interview has"
    return TokenFieldNotAllowed(errors=[{"field": name, "message": message} for name in refused]) if refused else None


def _said(value: Any) -> Any:
    """Return the value without what is empty, its keys as protojson writes them: clients send both spellings."""
    if isinstance(value, dict):
        said = {_camel(key): _said(inner) for key, inner in value.items()}
        return {key: inner for key, inner in said.items() if inner}
    if isinstance(value, list):
        return [inner for inner in map(_said, value) if inner]
    return value


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(map(str.capitalize, others))


def _is_ours(said: Any, ours: Any) -> bool:
    """Whether each thing said is so in ours; what is not said may be anything there."""
    if not said:
        return True
    if isinstance(said, dict) and isinstance(ours, dict):
        return all(_is_ours(value, ours.get(key)) for key, value in said.items())
    if isinstance(said, list) and isinstance(ours, list):
        return len(said) == len(ours) and all(map(_is_ours, said, ours))
    return bool(said == ours)

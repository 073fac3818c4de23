"""Access tokens, compared with livekit-api's own."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from livekit.api import (
    AccessToken,
    RoomAgentDispatch,
    RoomConfiguration,
    TokenVerifier,
    VideoGrants,
)

from app.livekit.access_tokens import TOKEN_LIFE, Signer
from tests.conftest import LIVEKIT_KEY, LIVEKIT_SECRET

ROOM = "interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"
METADATA: dict[str, object] = {
    "instructions": "مرحبا بكم في المقابلة",
    "jobTitle": 'A "quoted" \\ job',
    "maxDuration": 1800,
}


def signer(**changed: Any) -> Signer:
    given: dict[str, Any] = {"api_key": LIVEKIT_KEY, "api_secret": LIVEKIT_SECRET, "agent_name": ""}
    return Signer(**given | {"grace": timedelta(seconds=120)} | changed)


def token(*, metadata: dict[str, object] = METADATA, age: timedelta = timedelta(), **changed: Any) -> str:
    """Return a token issued now, or `age` ago."""
    made_by, now = signer(**changed), datetime.now(UTC) - age
    return made_by.sign(made_by.claims(identity="candidate-1", name="ليلى", room=ROOM, metadata=metadata, now=now))


def payload(token: str) -> bytes:
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize("may_update", [True, False])
@pytest.mark.parametrize("agent_name", ["", "interviewer"])
def test_livekit_reads_the_intended_claims(agent_name: str, may_update: bool) -> None:
    found = TokenVerifier(LIVEKIT_KEY, LIVEKIT_SECRET).verify(
        token(agent_name=agent_name, client_metadata_updates=may_update)
    )
    assert (found.identity, found.name, found.kind) == ("candidate-1", "ليلى", "")
    assert json.loads(found.metadata) == METADATA
    assert (found.attributes, found.sha256, found.room_preset) == ({}, "", None)
    assert found.video == VideoGrants(
        room_join=True,
        room=ROOM,
        can_publish=True,
        can_publish_data=True,
        can_publish_sources=["microphone", "camera"],
        can_subscribe=True,
        can_update_own_metadata=may_update,
    )
    agents = [RoomAgentDispatch(agent_name=agent_name)] if agent_name else []
    assert found.room_config == RoomConfiguration(empty_timeout=300, departure_timeout=125, agents=agents)


@pytest.mark.parametrize("agent_name", ["", "interviewer"])
def test_the_claims_equal_those_of_livekits_own_token(agent_name: str) -> None:
    config = RoomConfiguration(empty_timeout=300, departure_timeout=125)
    if agent_name:
        config.agents.append(RoomAgentDispatch(agent_name=agent_name))
    grants = VideoGrants(
        room_join=True, room=ROOM, can_publish_sources=["microphone", "camera"], can_update_own_metadata=False
    )
    theirs = AccessToken(LIVEKIT_KEY, LIVEKIT_SECRET).with_identity("candidate-1").with_name("ليلى")
    theirs = theirs.with_grants(grants).with_room_config(config).with_ttl(TOKEN_LIFE)
    theirs = theirs.with_metadata(json.dumps(METADATA, ensure_ascii=False, separators=(",", ":")))
    mine, other = token(agent_name=agent_name), theirs.to_jwt()
    assert jwt.get_unverified_header(mine) == jwt.get_unverified_header(other)
    assert timeless(mine) == timeless(other)


def timeless(token: str) -> dict[str, object]:
    found = jwt.decode(token, LIVEKIT_SECRET, algorithms=["HS256"])
    return {name: value for name, value in found.items() if name not in ("exp", "nbf")}


def test_a_token_lives_for_ten_minutes_from_its_second() -> None:
    now = datetime(2026, 11, 22, 9, 0, 0, 999_999, tzinfo=UTC)
    found = signer().claims(identity="candidate-1", name="C", room=ROOM, metadata={}, now=now)
    assert (found["nbf"], found["exp"]) == (int(now.timestamp()), int(now.timestamp()) + 600)


def test_an_expired_token_is_refused_by_livekit_after_its_leeway_of_a_minute() -> None:
    verifier = TokenVerifier(LIVEKIT_KEY, LIVEKIT_SECRET)
    verifier.verify(token(age=timedelta(minutes=10, seconds=30)))
    with pytest.raises(jwt.ExpiredSignatureError):
        verifier.verify(token(age=timedelta(minutes=11, seconds=5)))


def test_departure_waits_longer_than_the_grace() -> None:
    found = json.loads(payload(token(grace=timedelta(seconds=7))))
    assert found["roomConfig"] == {"emptyTimeout": 300, "departureTimeout": 12}


def test_arabic_travels_as_utf8_not_escaped() -> None:
    raw = payload(token())
    assert "مرحبا بكم في المقابلة".encode() in raw
    assert "ليلى".encode() in raw
    assert b"\\u" not in raw


def test_five_thousand_arabic_letters_take_a_third_of_what_livekit_api_takes() -> None:
    metadata: dict[str, object] = {"instructions": "م" * 5000}
    mine = token(metadata=metadata)
    theirs = AccessToken(LIVEKIT_KEY, LIVEKIT_SECRET).with_identity("c").with_metadata(json.dumps(metadata)).to_jwt()
    assert len(mine) * 2.5 < len(theirs)

"""The events, read by LiveKit's own library."""

import base64
import hashlib
import time
from collections.abc import Iterator

import jwt
import pytest
from google.protobuf.json_format import Parse
from livekit.api import TokenVerifier, WebhookReceiver
from livekit.protocol.webhook import WebhookEvent

from simulator.events import sign
from simulator.history import Role
from simulator.scenarios.registry import SCENARIOS
from tests.simulator.samples import (
    KEY,
    PLACEMENT,
    SECRET,
    events,
    role,
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_livekits_library_accepts_every_event(scenario: str) -> None:
    receiver = WebhookReceiver(TokenVerifier(KEY, SECRET))
    for event in events(scenario):
        signature = sign(event.raw, key=KEY, secret=SECRET, now=time.time())
        received = receiver.receive(event.raw.decode(), signature)
        assert (received.event, received.id, received.created_at) == (event.name, event.id, event.at // 1000)
        assert received.room.name == PLACEMENT.room_name
        assert received.room.creation_time == received.room.creation_time_ms // 1000
        assert received == Parse(event.raw, WebhookEvent())  # has no unknown field


def test_the_signature_is_a_token_with_the_bodys_digest() -> None:
    claims = jwt.decode(sign(b"{}", key=KEY, secret=SECRET, now=1e9), options={"verify_signature": False})
    digest = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert claims == {"iss": KEY, "nbf": 10**9, "exp": 10**9 + 300, "sha256": digest}


def test_the_events_of_a_completed_interview() -> None:
    found = events("agent_announces_completed")
    names = [event.name for event in found]
    assert names[0] == "room_started"
    assert names[-1] == "room_finished"
    assert sorted(names[1:-1]) == [*["participant_joined"] * 2, *["participant_left"] * 2, "track_published"]
    left = next(e.body["participant"] for e in found if e.name == "participant_left" and role(e) is Role.AGENT)
    assert left["kind"] == "AGENT"
    assert left["attributes"]["interview.outcome"] == "completed"
    assert left["disconnectReason"] == "CLIENT_INITIATED"
    joined = next(e.body["participant"] for e in found if e.name == "participant_joined" and role(e) is Role.CANDIDATE)
    assert joined["identity"] == PLACEMENT.identity
    assert joined["metadata"] == PLACEMENT.metadata
    assert int(joined["joinedAtMs"]) // 1000 == int(joined["joinedAt"])
    assert not {"kind", "disconnectReason", "attributes"} & joined.keys()


def test_int64_are_strings_and_zero_values_are_omitted() -> None:
    def leaves(value: object) -> Iterator[object]:
        if isinstance(value, dict):
            for each in value.values():
                yield from leaves(each)
        else:
            yield value

    for event in events("an_avatar_and_a_recruiter_come_and_go"):
        assert all(leaf not in ("", 0, None, False) for leaf in leaves(event.body))
        assert isinstance(event.body["createdAt"], str)
        assert isinstance(event.body["room"]["creationTime"], str)


def test_event_ids_are_unique_and_stable() -> None:
    ids = [event.id for event in events("candidate_drops_and_returns")]
    assert len(set(ids)) == len(ids)
    assert ids == [event.id for event in events("candidate_drops_and_returns")]


def test_a_lost_connection_is_detected_about_twenty_seconds_later() -> None:
    for seed in range(20):
        left = next(e for e in events("candidate_lost_for_good", seed) if e.name == "participant_left")
        assert left.body["participant"]["disconnectReason"] == "CONNECTION_TIMEOUT"
        assert left.connection is not None
        assert left.connection.left is not None
        assert 19_000 <= left.at - PLACEMENT.origin - left.connection.left <= 21_000


def test_the_old_device_leaves_before_the_new_one_joins() -> None:
    found = [e for e in events("second_device") if e.name.startswith("participant_") and role(e) is Role.CANDIDATE]
    assert [e.name.removeprefix("participant_") for e in found] == ["joined", "left", "joined", "left"]
    assert found[1].body["participant"]["disconnectReason"] == "DUPLICATE_IDENTITY"
    assert found[1].body["participant"]["sid"] != found[2].body["participant"]["sid"]


def test_the_candidate_leaves_a_deleted_room_first() -> None:
    found = events("agent_deletes_the_room")[-3:]
    assert [e.name for e in found] == ["participant_left", "participant_left", "room_finished"]
    assert [role(e) for e in found] == [Role.CANDIDATE, Role.AGENT, None]
    assert found[-1].at - found[0].at <= 60
    assert {e.body["participant"]["disconnectReason"] for e in found[:2]} == {"ROOM_DELETED"}


def test_the_agent_is_removed_when_its_room_closes() -> None:
    found = events("candidate_walks_out")
    agent, room = found[-2:]
    assert agent.body["participant"]["disconnectReason"] == "ROOM_CLOSED"
    assert room.name == "room_finished"
    candidate = next(e for e in found if e.name == "participant_left")
    assert agent.at - candidate.at == pytest.approx(125_000, abs=10)


def test_a_killed_server_sends_no_more_events() -> None:
    names = [event.name for event in events("server_killed_for_good")]
    assert "participant_left" not in names
    assert "room_finished" not in names
    back = events("server_killed_and_both_return")
    assert len({event.body["room"]["sid"] for event in back}) == 2


def test_a_candidate_without_media_is_aborted_and_never_joined() -> None:
    names = [event.name for event in events("no_media_ever")]
    assert names == ["room_started", "participant_connection_aborted", "room_finished"]

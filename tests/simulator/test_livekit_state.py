"""Rooms and participants, and what the deployment changes."""

import pytest

from simulator.livekit_state import LiveKitState
from simulator.scenarios.registry import SCENARIOS
from tests.simulator.samples import PLACEMENT, ManualClock, middle_of_talk, start


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_participants_are_those_who_joined_and_have_not_left(
    scenario: str, clock: ManualClock, state: LiveKitState
) -> None:
    start(state, scenario).dispatches.append(0)
    inside: set[str] = set()
    for event in state.events(PLACEMENT.room_name):
        sid = event.body.get("participant", {}).get("sid")
        inside |= {sid} if event.name == "participant_joined" else set()
        inside -= {sid} if event.name == "participant_left" else set()
        if event.name == "room_started":
            inside = set()  # a killed server has lost its participants
        clock.now = event.at
        assert {found["sid"] for found in state.participants(PLACEMENT.room_name)} == inside
        assert len(state.rooms([PLACEMENT.room_name])) == (event.name != "room_finished")


def test_a_room_deleted_by_the_deployment_removes_everybody(clock: ManualClock, state: LiveKitState) -> None:
    interview = start(state, "agent_announces_completed")
    clock.now = middle_of_talk(interview)
    found = [event for event in state.events(PLACEMENT.room_name) if event.at <= clock.now]
    assert state.delete_room(PLACEMENT.room_name)
    after = state.events(PLACEMENT.room_name)
    assert after[: len(found)] == found
    assert [event.name for event in after[len(found) :]] == ["participant_left", "participant_left", "room_finished"]
    assert {e.body["participant"]["disconnectReason"] for e in after[len(found) : -1]} == {"ROOM_DELETED"}
    clock.now += 1000
    assert state.rooms() == []
    assert state.participants(PLACEMENT.room_name) == []
    assert not state.delete_room(PLACEMENT.room_name)


def test_a_late_return_creates_the_deleted_room_again(clock: ManualClock, state: LiveKitState) -> None:
    interview = start(state, "candidate_returns_too_late")
    clock.now = middle_of_talk(interview)
    assert state.delete_room(PLACEMENT.room_name)
    clock.now = PLACEMENT.origin + max(connection.joined for connection in interview.history.connections) + 100
    assert len(state.rooms([PLACEMENT.room_name])) == 1
    assert [found["identity"] for found in state.participants(PLACEMENT.room_name)] == [PLACEMENT.identity]


def test_a_dispatched_agent_joins_only_after_a_dispatch(clock: ManualClock, state: LiveKitState) -> None:
    for is_dispatched in (False, True):
        interview = start(state, "another_agent_is_dispatched")
        late = next(connection for connection in interview.history.connections if connection.dispatched)
        clock.now = PLACEMENT.origin + late.joined - 1000
        if is_dispatched:
            assert state.dispatch(PLACEMENT.room_name) == 1
        clock.now += 2000
        assert (late.sid in {found["sid"] for found in state.participants(PLACEMENT.room_name)}) == is_dispatched

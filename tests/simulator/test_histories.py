"""The simulated LiveKit: its histories against the oracle, its events and its server against LiveKit's own library."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random

import aiohttp
import jwt
import pytest
from google.protobuf.json_format import Parse
from livekit.api import LiveKitAPI, TokenVerifier, WebhookReceiver
from livekit.api.twirp_client import ServerError
from livekit.protocol.agent_dispatch import CreateAgentDispatchRequest
from livekit.protocol.models import DisconnectReason, ParticipantInfo
from livekit.protocol.room import (
    DeleteRoomRequest,
    ListParticipantsRequest,
    ListRoomsRequest,
    RoomParticipantIdentity,
    SendDataRequest,
)
from livekit.protocol.webhook import WebhookEvent

from simulator.delivery import Rates, fate, schedule
from simulator.events import Event, Place, events_of, sign
from simulator.history import History, Role
from simulator.livekit_api import ServerApi, serving
from simulator.livekit_state import Played, World
from simulator.scenarios.generate import left_out, one, some, usable
from simulator.scenarios.registry import KINDS
from simulator.timing import Pace
from tests.reference_model import expected_end
from tests.simulator.replay import at, maybe_at, truth_of, waits_of

KEY, SECRET = "devkey", "a secret of thirty-two characters"
PLACE = Place("interview-1", "candidate-1", origin=1_772_355_600_123, metadata='{"jobTitle":"مهندس"}')


def rng(seed: object) -> Random:
    return Random(str(seed))  # noqa: S311 - to be repeatable, not to be secret


def history(kind: str, seed: int = 0, pace: Pace | None = None) -> History:
    return one(rng(f"{kind} {seed}"), kind, pace or Pace())


def events(kind: str, seed: int = 0) -> list[Event]:
    return events_of(history(kind, seed), PLACE)


def role(event: Event) -> Role | None:
    return event.visit.role if event.visit else None


# Histories


@pytest.mark.parametrize("speed", [1, 4, 12])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_history_expects_is_what_the_oracle_says(speed: float, seed: int) -> None:
    pace = Pace().faster(speed)
    for made in some(rng((speed, seed)), 1000, pace, dispatch=True):
        found = expected_end(truth_of(made), at(made.over) + timedelta(seconds=60), waits_of(pace))
        expected = made.expected
        assert (found.status, found.end_reason) == (expected.status, expected.end_reason), made
        assert (found.started_at, found.ended_at) == (maybe_at(expected.started), maybe_at(expected.ended)), made


@pytest.mark.parametrize("kind", KINDS)
def test_no_history_is_over_before_its_end(kind: str) -> None:
    for seed in range(20):
        made = history(kind, seed)
        if made.expected.ended is not None and "amends" not in kind and "had_failed" not in kind:
            before = expected_end(truth_of(made), at(made.expected.ended - 1), waits_of(Pace()))
            assert before.ended_at is None, made


def test_the_same_seed_gives_the_same_histories() -> None:
    assert some(rng(7), 50, Pace()) == some(rng(7), 50, Pace())
    assert some(rng(7), 50, Pace()) != some(rng(8), 50, Pace())


def test_at_the_real_pace_every_kind_can_be_told_and_at_a_mad_one_some_are_left_out() -> None:
    assert left_out(Pace()) == []
    assert "candidate_drops_and_returns" in left_out(Pace().faster(10))
    with pytest.raises(ValueError, match="go slower"):
        Pace().faster(30)
    assert {kind.name for kind in usable(Pace())} == {name for name, kind in KINDS.items() if not kind.needs_dispatch}


def test_competing_causes_are_far_enough_apart_for_livekits_clock() -> None:
    """Had the end come 2 s earlier or later by another rule, nobody could blame the service for choosing it."""
    for made in some(rng("apart"), 500, Pace()):
        for visit in made.connections:
            if visit.role is Role.CANDIDATE and made.expected.ended and visit.left:
                assert not 60 < abs(visit.left - made.expected.ended) < 1000, made


# Events


@pytest.mark.parametrize("kind", KINDS)
def test_livekits_library_takes_every_event(kind: str) -> None:
    receiver = WebhookReceiver(TokenVerifier(KEY, SECRET))
    for event in events(kind):
        signature = sign(event.raw, key=KEY, secret=SECRET, now=time.time())
        received = receiver.receive(event.raw.decode(), signature)
        assert (received.event, received.id, received.created_at) == (event.name, event.id, event.at // 1000)
        assert received.room.name == PLACE.room_name
        assert received.room.creation_time == received.room.creation_time_ms // 1000
        assert received == Parse(event.raw, WebhookEvent())  # no field that LiveKit doesn't know


def test_the_signature_is_a_bare_token_over_the_body() -> None:
    claims = jwt.decode(sign(b"{}", key=KEY, secret=SECRET, now=1e9), options={"verify_signature": False})
    digest = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert claims == {"iss": KEY, "nbf": 10**9, "exp": 10**9 + 300, "sha256": digest}


def test_a_completed_interview_as_livekit_tells_it() -> None:
    told = events("agent_announces_completed")
    names = [event.name for event in told]
    assert names[0] == "room_started"
    assert names[-1] == "room_finished"
    assert sorted(names[1:-1]) == [*["participant_joined"] * 2, *["participant_left"] * 2, "track_published"]
    left = next(e.body["participant"] for e in told if e.name == "participant_left" and role(e) is Role.AGENT)
    assert left["kind"] == "AGENT"
    assert left["attributes"]["interview.outcome"] == "completed"
    assert left["disconnectReason"] == "CLIENT_INITIATED"
    joined = next(e.body["participant"] for e in told if e.name == "participant_joined" and role(e) is Role.CANDIDATE)
    assert joined["identity"] == PLACE.identity
    assert joined["metadata"] == PLACE.metadata
    assert int(joined["joinedAtMs"]) // 1000 == int(joined["joinedAt"])
    assert not {"kind", "disconnectReason", "attributes"} & joined.keys()


def test_int64_are_strings_and_zero_values_left_out() -> None:
    def leaves(value: object) -> Iterator[object]:
        if isinstance(value, dict):
            for each in value.values():
                yield from leaves(each)
        else:
            yield value

    for event in events("an_avatar_and_a_watcher_come_and_go"):
        assert all(leaf not in ("", 0, None, False) for leaf in leaves(event.body))
        assert isinstance(event.body["createdAt"], str)
        assert isinstance(event.body["room"]["creationTime"], str)


def test_ids_are_unique_and_the_same_when_told_again() -> None:
    ids = [event.id for event in events("candidate_drops_and_returns")]
    assert len(set(ids)) == len(ids)
    assert ids == [event.id for event in events("candidate_drops_and_returns")]


def test_a_lost_connection_is_noticed_some_twenty_seconds_later() -> None:
    for seed in range(20):
        left = next(e for e in events("candidate_lost_for_good", seed) if e.name == "participant_left")
        assert left.body["participant"]["disconnectReason"] == "CONNECTION_TIMEOUT"
        assert left.visit is not None
        assert left.visit.left is not None
        assert 19_000 <= left.at - PLACE.origin - left.visit.left <= 21_000


def test_the_old_device_is_out_before_the_new_one_is_in() -> None:
    told = [e for e in events("second_device") if e.name.startswith("participant_") and role(e) is Role.CANDIDATE]
    assert [e.name.removeprefix("participant_") for e in told] == ["joined", "left", "joined", "left"]
    assert told[1].body["participant"]["disconnectReason"] == "DUPLICATE_IDENTITY"
    assert told[1].body["participant"]["sid"] != told[2].body["participant"]["sid"]


def test_a_deleted_room_is_left_by_the_candidate_first() -> None:
    told = events("agent_deletes_the_room")[-3:]
    assert [e.name for e in told] == ["participant_left", "participant_left", "room_finished"]
    assert [role(e) for e in told] == [Role.CANDIDATE, Role.AGENT, None]
    assert told[-1].at - told[0].at <= 60
    assert {e.body["participant"]["disconnectReason"] for e in told[:2]} == {"ROOM_DELETED"}


def test_the_agent_is_put_out_when_its_room_closes() -> None:
    told = events("candidate_walks_out")
    agent, room = told[-2:]
    assert agent.body["participant"]["disconnectReason"] == "ROOM_CLOSED"
    assert room.name == "room_finished"
    candidate = next(e for e in told if e.name == "participant_left")
    assert agent.at - candidate.at == pytest.approx(125_000, abs=10)


def test_a_killed_server_tells_nothing() -> None:
    names = [event.name for event in events("server_killed_for_good")]
    assert "participant_left" not in names
    assert "room_finished" not in names
    back = events("server_killed_and_both_return")
    assert len({event.body["room"]["sid"] for event in back}) == 2


def test_who_never_gets_media_is_aborted_and_never_joined() -> None:
    names = [event.name for event in events("no_media_ever")]
    assert names == ["room_started", "participant_connection_aborted", "room_finished"]


# Delivery


def all_events(count: int = 200) -> list[Event]:
    made = some(rng("delivery"), count, Pace())
    return [event for n, each in enumerate(made) for event in events_of(each, replace(PLACE, room_name=f"room-{n}"))]


def test_without_faults_everything_arrives_at_once() -> None:
    told = all_events()
    assert [(d.at, d.event) for d in schedule(told, Rates(), rng(1))] == sorted(
        ((e.at, e) for e in told), key=lambda pair: pair[0]
    )


def test_the_rates_are_kept() -> None:
    told = all_events(500)
    arrived = schedule(told, Rates(lost=0.3, repeated=0.2, late=30), rng(1))
    first = {delivery.event.id for delivery in arrived}
    assert len(first) / len(told) == pytest.approx(0.7, abs=0.03)
    assert (len(arrived) - len(first)) / len(first) == pytest.approx(0.2, abs=0.03)
    assert all(0 <= delivery.at - delivery.event.at <= 60_000 for delivery in arrived)


def test_within_a_room_livekits_order_is_kept_or_not_as_wanted() -> None:
    told = all_events()

    def disorder(rates: Rates) -> int:
        last: dict[str, int] = {}
        wrong = 0
        for delivery in schedule(told, rates, rng(1)):
            wrong += delivery.event.at < last.get(delivery.event.room_name, 0)
            last[delivery.event.room_name] = delivery.event.at
        return wrong

    assert disorder(Rates(late=30)) == 0
    assert disorder(Rates(late=30, in_order=False)) > 0


def test_a_schedule_is_a_function_of_its_generator() -> None:
    told, rates = all_events(), Rates(lost=0.1, repeated=0.1, late=5)
    assert schedule(told, rates, rng(1)) == schedule(told, rates, rng(1))
    assert fate(rates, rng(1)).delays == fate(replace(rates, repeated=0.1), rng(1)).delays


# The world


class Hands:
    """A clock that is set by hand, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.now = PLACE.origin

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def world(clock: Hands) -> World:
    return World(clock)


def put_into(world: World, kind: str) -> Played:
    return world.add(history(kind), PLACE)


def while_talking(played: Played) -> int:
    started = played.history.expected.started
    assert started is not None
    return PLACE.origin + started + 1000


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_in_a_room_is_who_joined_and_has_not_left(kind: str, clock: Hands, world: World) -> None:
    put_into(world, kind).dispatches.append(0)
    inside: set[str] = set()
    for event in world.upcoming(PLACE.room_name):
        sid = event.body.get("participant", {}).get("sid")
        inside |= {sid} if event.name == "participant_joined" else set()
        inside -= {sid} if event.name == "participant_left" else set()
        if event.name == "room_started":
            inside = set()  # a killed server has forgotten who was there
        clock.now = event.at
        assert {found["sid"] for found in world.participants(PLACE.room_name)} == inside
        assert len(world.rooms([PLACE.room_name])) == (event.name != "room_finished")


def test_a_room_deleted_by_the_deployment_puts_everybody_out(clock: Hands, world: World) -> None:
    played = put_into(world, "agent_announces_completed")
    clock.now = while_talking(played)
    told = [event for event in world.upcoming(PLACE.room_name) if event.at <= clock.now]
    assert world.delete_room(PLACE.room_name)
    after = world.upcoming(PLACE.room_name)
    assert after[: len(told)] == told
    assert [event.name for event in after[len(told) :]] == ["participant_left", "participant_left", "room_finished"]
    assert {e.body["participant"]["disconnectReason"] for e in after[len(told) : -1]} == {"ROOM_DELETED"}
    clock.now += 1000
    assert world.rooms() == []
    assert world.participants(PLACE.room_name) == []
    assert not world.delete_room(PLACE.room_name)


def test_a_late_return_makes_the_deleted_room_anew(clock: Hands, world: World) -> None:
    played = put_into(world, "candidate_returns_too_late")
    clock.now = while_talking(played)
    assert world.delete_room(PLACE.room_name)
    clock.now = PLACE.origin + max(visit.joined for visit in played.history.connections) + 100
    assert len(world.rooms([PLACE.room_name])) == 1
    assert [found["identity"] for found in world.participants(PLACE.room_name)] == [PLACE.identity]


def test_an_agent_comes_only_if_it_was_sent_for(clock: Hands, world: World) -> None:
    for is_sent_for in (False, True):
        played = put_into(world, "another_agent_is_dispatched")
        late = next(visit for visit in played.history.connections if visit.dispatched)
        clock.now = PLACE.origin + late.joined - 1000
        if is_sent_for:
            assert world.dispatch(PLACE.room_name) == 1
        clock.now += 2000
        assert (late.sid in {found["sid"] for found in world.participants(PLACE.room_name)}) == is_sent_for


# The server, asked by LiveKit's own library


@pytest.fixture
async def server(world: World) -> AsyncIterator[tuple[ServerApi, str]]:
    api = ServerApi(world, key=KEY, secret=SECRET)
    async with serving(api, "127.0.0.1", 0) as url:
        yield api, url


@pytest.fixture
async def livekit(server: tuple[ServerApi, str]) -> AsyncIterator[LiveKitAPI]:
    async with LiveKitAPI(server[1], KEY, SECRET) as client:
        yield client


async def test_the_library_finds_rooms_and_participants(clock: Hands, world: World, livekit: LiveKitAPI) -> None:
    played = put_into(world, "an_avatar_and_a_watcher_come_and_go")
    clock.now = while_talking(played)
    rooms = (await livekit.room.list_rooms(ListRoomsRequest(names=[PLACE.room_name, "other"]))).rooms
    assert [(room.name, room.num_participants) for room in rooms] == [(PLACE.room_name, 4)]
    assert len((await livekit.room.list_rooms(ListRoomsRequest())).rooms) == 1
    assert len((await livekit.room.list_rooms(ListRoomsRequest(names=["other"]))).rooms) == 0
    found = (await livekit.room.list_participants(ListParticipantsRequest(room=PLACE.room_name))).participants
    kinds = {who.identity.partition("-")[0]: (who.kind, who.permission.hidden) for who in found}
    assert kinds == {
        "candidate": (ParticipantInfo.STANDARD, False),
        "agent": (ParticipantInfo.AGENT, False),
        "avatar": (ParticipantInfo.AGENT, False),
        "recruiter": (ParticipantInfo.STANDARD, True),
    }
    assert {who.disconnect_reason for who in found} == {DisconnectReason.UNKNOWN_REASON}
    agent = next(who for who in found if who.identity.startswith("agent"))
    assert agent.attributes["interview.outcome"] == "pending"


async def test_the_library_deletes_removes_sends_and_dispatches(
    clock: Hands, world: World, livekit: LiveKitAPI
) -> None:
    played = put_into(world, "agent_announces_completed")
    clock.now = while_talking(played)
    name = PLACE.room_name
    await livekit.room.send_data(SendDataRequest(room=name, data=b'{"secondsLeft":60}', topic="interview.time"))
    assert played.messages[0]["topic"] == "interview.time"
    await livekit.agent_dispatch.create_dispatch(CreateAgentDispatchRequest(room=name, agent_name="ada"))
    assert len(await livekit.agent_dispatch.list_dispatch(name)) == 1
    await livekit.room.remove_participant(RoomParticipantIdentity(room=name, identity=PLACE.identity))
    clock.now += 1000
    found = (await livekit.room.list_participants(ListParticipantsRequest(room=name))).participants
    assert [who.kind for who in found] == [ParticipantInfo.AGENT]
    await livekit.room.delete_room(DeleteRoomRequest(room=name))
    clock.now += 1000
    assert len((await livekit.room.list_rooms(ListRoomsRequest())).rooms) == 0


async def test_what_is_not_there_is_said_as_livekit_says_it(livekit: LiveKitAPI) -> None:
    assert not (await livekit.room.list_participants(ListParticipantsRequest(room="none"))).participants
    for call in (
        livekit.room.delete_room(DeleteRoomRequest(room="none")),
        livekit.room.remove_participant(RoomParticipantIdentity(room="none", identity="nobody")),
        livekit.agent_dispatch.create_dispatch(CreateAgentDispatchRequest(room="none")),
    ):
        with pytest.raises(ServerError) as caught:
            await call
        assert (caught.value.code, caught.value.status) == ("not_found", 404)


async def test_a_server_that_is_away_or_asked_by_a_stranger(server: tuple[ServerApi, str]) -> None:
    api, url = server
    async with LiveKitAPI(url, KEY, "another secret of thirty-two chars") as stranger:
        with pytest.raises(ServerError) as caught:
            await stranger.room.list_rooms(ListRoomsRequest())
        assert caught.value.status == 401
    api.away = True
    async with LiveKitAPI(url, KEY, SECRET) as client:
        with pytest.raises(ServerError) as caught:
            await client.room.list_rooms(ListRoomsRequest())
        assert caught.value.code == "unavailable"


async def test_json_is_spoken_too(clock: Hands, world: World, server: tuple[ServerApi, str]) -> None:
    played = put_into(world, "agent_announces_completed")
    clock.now = while_talking(played)
    token = jwt.encode({"iss": KEY}, SECRET, algorithm="HS256")
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.post(f"{server[1]}/twirp/livekit.RoomService/ListRooms", json={}) as response,
    ):
        assert [room["name"] for room in (await response.json())["rooms"]] == [PLACE.room_name]

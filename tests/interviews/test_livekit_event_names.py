"""The names of LiveKit's events: each one that is recorded is known, handled, stored as a fact and has its sentence."""

import ast
import inspect
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews import livekit_events
from app.interviews.livekit_events import RECORDED
from app.interviews.timeline import EVENTS
from app.lifecycle import Timeouts
from app.livekit.webhooks import parse_event
from app.models import Connection, Room, TimelineEntry
from tests import livekit_webhooks
from tests.conftest import AUTHORIZED
from tests.interview_driver import CANDIDATE, NEW

# https://docs.livekit.io/home/server/webhooks/
LIVEKIT_EVENTS = {
    *("room_started", "room_finished", "participant_joined", "participant_left", "participant_connection_aborted"),
    *("track_published", "track_unpublished", "egress_started", "egress_updated", "egress_ended"),
    *("ingress_started", "ingress_ended"),
}

OWN_ROOM = "interview-c6aec8f5-592b-4b90-b7fd-a6a6404b31f9"

# What each event leaves in the facts: room ended, candidate's connection (None: no row, else whether it is over).
FACTS: dict[str, tuple[bool, bool | None]] = {
    "room_started": (False, None),
    "participant_joined": (False, False),
    "participant_left": (False, True),
    "participant_connection_aborted": (False, None),
    "room_finished": (True, None),
}


def compared_names() -> set[str]:
    """Return every literal that the module compares with the name of an event."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(inspect.getsource(livekit_events))):
        is_name = isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "name"
        if is_name:
            found |= {str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return found


def test_the_recorded_events_are_livekits_own() -> None:
    assert RECORDED <= LIVEKIT_EVENTS


def test_each_event_that_the_code_handles_is_recorded() -> None:
    assert {"participant_joined", "participant_left", "room_finished"} <= compared_names() <= RECORDED


def test_each_recorded_event_has_its_facts_and_its_sentence() -> None:
    assert set(FACTS) == RECORDED
    assert set(EVENTS) >= RECORDED


@pytest.mark.parametrize("name", sorted(RECORDED))
async def test_each_recorded_event_is_stored(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], name: str
) -> None:
    interview = (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json()
    now = datetime.now(UTC)
    who: dict[str, Any] = livekit_webhooks.participant("PA_c", CANDIDATE, joined_at=now - timedelta(seconds=5))
    event = livekit_webhooks.event(
        name, room=interview["roomName"], at=now, participant=who if name.startswith("participant_") else None
    )
    if name.startswith("egress_"):  # LiveKit names its room in egressInfo alone
        room = event.pop("room")
        event["egressInfo"] = {"egressId": "EG_1", "roomId": room["sid"], "roomName": room["name"]}
    result = await livekit_webhooks.deliver(sessions, event, at=now, timeouts=Timeouts())
    assert result is livekit_events.WebhookResult.RECORDED
    interview_id = uuid.UUID(interview["interviewId"])
    async with sessions() as session:
        rooms = (await session.scalars(select(Room).where(Room.interview_id == interview_id))).all()
        connection = await session.get(Connection, (interview_id, "PA_c"))
        entries = select(TimelineEntry.name).where(
            TimelineEntry.interview_id == interview_id, TimelineEntry.kind == "livekit"
        )
        assert (await session.scalars(entries)).all() == [name]
    is_over = None if connection is None else connection.left_at is not None
    assert len(rooms) == ("room" in event)
    assert (any(room.ended_at for room in rooms), is_over) == FACTS[name]


@pytest.mark.parametrize(
    ("name", "place", "logged"),
    [
        ("egress_started", {"egressInfo": {"roomName": OWN_ROOM}}, f"'egress_started' is not used, {OWN_ROOM}"),
        ("ingress_ended", {"ingressInfo": {"roomName": OWN_ROOM}}, f"'ingress_ended' is not used, {OWN_ROOM}"),
        ("room_renamed", {"room": {"name": OWN_ROOM}}, f"'room_renamed' is not used, {OWN_ROOM}"),
        ("egress_ended", {"egressInfo": {"roomName": "Fatima"}}, "'egress_ended' is not used, a foreign room"),
        ("egress_ended", {"egressInfo": {"url": "https://example.com"}}, "'egress_ended' is not used, no room"),
        ("room_started", {"room": {"name": "Fatima"}}, "'room_started', a foreign room"),
        ("participant_joined", {}, "'participant_joined', no room"),
    ],
)
def test_an_event_that_is_ignored_is_logged_with_its_reason(
    name: str, place: dict[str, Any], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """LiveKit names the room of a recording in egressInfo alone. The name of a foreign room may be personal data."""
    event = parse_event(livekit_webhooks.encode({"event": name, "id": "EV_1", **place}))
    with caplog.at_level("INFO"):
        assert livekit_events.as_room_event(event, datetime.now(UTC)) is None
    assert caplog.messages == [f"webhook ignored: event {logged}"]

"""Who is the interviewer: no hidden agent, and with AGENT_NAME no agent of another name. A stored role stays."""

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.interviews.participant_events import role_of
from app.lifecycle import Role
from app.livekit.webhooks import Participant
from app.main import create_app
from app.models import Connection, Interview
from tests.calls import AGENT, CANDIDATE, NEW, Room
from tests.conftest import AUTHORIZED, client_of, make_settings

HELPER = "agent-AJ_2"
OURS = {"lk.agent_name": "interviewer"}
TRANSCRIBER = {"lk.agent_name": "transcriber"}


@pytest.fixture
async def named(sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[httpx.AsyncClient]:
    """A service whose AGENT_NAME is interviewer."""
    async with client_of(create_app(make_settings(agent_name="interviewer"), sessions)) as client:
        yield client


async def open_room(client: httpx.AsyncClient) -> Room:
    return Room(client, (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json())


async def status_of(room: Room) -> tuple[str, str | None]:
    path = f"/interviews/{room.interview['interviewId']}"
    body = (await room.client.get(path, headers=AUTHORIZED)).json()
    return body["status"], body["endReason"]


async def livekit_entries(room: Room) -> list[tuple[str, str]]:
    """Return text and stored role of the timeline's entries about participants."""
    path = f"/interviews/{room.interview['interviewId']}/timeline"
    entries = (await room.client.get(path, headers=AUTHORIZED)).json()["data"]
    return [(entry["text"], entry["detail"]["role"]) for entry in entries if "identity" in entry["detail"]]


@pytest.mark.parametrize(
    ("agent_name", "attributes", "role"),
    [
        ("", {}, Role.AGENT),
        ("", {"lk.agent_name": "anything"}, Role.AGENT),
        ("interviewer", OURS, Role.AGENT),
        ("interviewer", {}, Role.AGENT),
        ("interviewer", TRANSCRIBER, Role.OTHER),
        ("interviewer", {"lk.agent_name": ""}, Role.OTHER),
        ("interviewer", OURS | {"lk.publish_on_behalf": AGENT}, Role.OTHER),
    ],
)
def test_the_role_of_an_agent(agent_name: str, attributes: dict[str, str], role: Role) -> None:
    """LiveKit tells the name of each agent that it dispatched, '' for one without; of a token made by hand nothing."""
    who = Participant("PA_a", AGENT, "AGENT", hidden=False, joined_at=None, attributes=attributes, disconnect_reason="")
    assert role_of(who, Interview(id=uuid.uuid4(), candidate_id="c"), agent_name=agent_name) is role


async def test_a_hidden_agent_is_no_interviewer(client: httpx.AsyncClient) -> None:
    room = await open_room(client)
    await room.joined("PA_c", CANDIDATE, 1)
    await room.joined("PA_h", HELPER, 2, hidden=True)
    assert await status_of(room) == ("WAITING_FOR_AGENT", None)
    await room.joined("PA_a", AGENT, 3)
    await room.left("PA_a", AGENT, 20, joined=3)
    assert await status_of(room) == ("COMPLETED", "AGENT_LEFT")


async def test_an_agent_of_another_name_keeps_nothing_alive(named: httpx.AsyncClient) -> None:
    room = await open_room(named)
    await room.joined("PA_c", CANDIDATE, 1)
    await room.joined("PA_t", HELPER, 2, attributes=TRANSCRIBER)
    assert await status_of(room) == ("WAITING_FOR_AGENT", None)
    await room.joined("PA_a", AGENT, 3, attributes=OURS)
    assert await status_of(room) == ("IN_PROGRESS", None)
    await room.left("PA_a", AGENT, 20, joined=3, attributes=OURS)
    assert await status_of(room) == ("COMPLETED", "AGENT_LEFT")


async def test_an_agent_that_changes_its_attributes_keeps_its_role(
    named: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    """Agents may change their attributes; participant_left carries them as they are then."""
    room = await open_room(named)
    await room.joined("PA_c", CANDIDATE, 1)
    await room.joined("PA_a", AGENT, 2, attributes=OURS)
    await room.joined("PA_t", HELPER, 3, attributes=TRANSCRIBER)
    await room.left("PA_t", HELPER, 10, joined=3, attributes=OURS | {"interview.outcome": "completed"})
    assert await status_of(room) == ("IN_PROGRESS", None)
    await room.left("PA_a", AGENT, 20, joined=2, attributes=TRANSCRIBER | {"interview.outcome": "failed"})
    assert await status_of(room) == ("FAILED", "AGENT_REPORTED")
    async with sessions() as session:
        stored = {row.sid: (row.role, row.outcome) for row in await session.scalars(select(Connection))}
    assert stored == {"PA_c": ("CANDIDATE", None), "PA_a": ("AGENT", "failed"), "PA_t": ("OTHER", None)}
    assert await livekit_entries(room) == [
        ("The candidate joined", "CANDIDATE"),
        (f"The agent {AGENT} joined", "AGENT"),
        (f"Helper agent {HELPER} joined", "OTHER"),
        (f"Helper agent {HELPER} left (CLIENT_INITIATED)", "OTHER"),
        (f"The agent {AGENT} left (CLIENT_INITIATED)", "AGENT"),
    ]


async def test_the_timeline_names_people_by_role(client: httpx.AsyncClient) -> None:
    room = await open_room(client)
    await room.joined("PA_1", CANDIDATE, 1, kind="SIP")
    await room.joined("PA_2", "EG_Zk3", 2, kind="EGRESS", hidden=True)
    await room.joined("PA_3", "stream", 3, kind="INGRESS")
    await room.joined("PA_4", HELPER, 4, hidden=True)
    await room.joined("PA_5", "agent-smith", 5, kind="STANDARD")
    await room.joined("PA_6", CANDIDATE, 6, hidden=True)
    await room.joined("PA_7", "bridge", 7, kind="BRIDGE")
    await room.tell("participant_connection_aborted", 8, room.who("PA_8", CANDIDATE, 8, reason="JOIN_FAILURE"))
    await room.joined("PA_9", CANDIDATE, 9)
    await room.joined("PA_10", "interviewer-1", 10, kind="AGENT")
    assert [text for text, _ in await livekit_entries(room)] == [
        f"A phone caller {CANDIDATE} joined",
        "A recorder joined",
        "A media stream stream joined",
        f"Hidden helper agent {HELPER} joined",
        "Participant agent-smith joined",
        f"Hidden participant {CANDIDATE} joined",
        "A participant of kind BRIDGE bridge joined",
        "The candidate tried to connect and failed",
        "The candidate joined",
        "The agent interviewer-1 joined",
    ]
    assert await status_of(room) == ("IN_PROGRESS", None)


async def test_an_erasure_keeps_the_roles(client: httpx.AsyncClient) -> None:
    room = await open_room(client)
    await room.joined("PA_1", CANDIDATE, 1, kind="SIP")
    await room.left("PA_1", CANDIDATE, 2, joined=1, kind="SIP")
    await room.joined("PA_h", HELPER, 3, hidden=True)
    await room.joined("PA_c", CANDIDATE, 4)
    await room.joined("PA_a", AGENT, 5)
    await room.left("PA_a", AGENT, 10, joined=5)
    erased = await client.delete(f"/interviews/{room.interview['interviewId']}/personal-data", headers=AUTHORIZED)
    assert erased.status_code == 204, erased.text
    await room.left("PA_h", HELPER, 20, joined=3, hidden=True)
    assert await livekit_entries(room) == [
        ("A phone caller joined", "OTHER"),
        ("A phone caller left (CLIENT_INITIATED)", "OTHER"),
        ("Hidden helper agent joined", "OTHER"),
        ("The candidate joined", "CANDIDATE"),
        ("The agent joined", "AGENT"),
        ("The agent left (CLIENT_INITIATED)", "AGENT"),
        ("Hidden helper agent left (CLIENT_INITIATED)", "OTHER"),
    ]

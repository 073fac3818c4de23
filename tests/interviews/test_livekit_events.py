"""LiveKit's webhooks through HTTP: the facts they store, roles, and the status changes they cause."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.models import Connection, Room, TimelineEntry
from tests import livekit_webhooks
from tests.conftest import AUTHORIZED

NEW = {
    "candidateId": "c",
    "applicationId": "a",
    "jobPostId": "j",
    "jobTitle": "Developer",
    "phoneNumber": "0500000001",
}
CANDIDATE, AGENT = "candidate-c", "agent-AJ_1"
SECOND = timedelta(seconds=1)


class Interview:
    """An interview, and webhooks about its room. `at` is in seconds since a minute ago."""

    def __init__(self, client: httpx.AsyncClient, made: dict[str, Any]) -> None:
        self.client = client
        self.id: str = made["interviewId"]
        self.room: str = made["roomName"]
        self.began = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)

    async def send(self, name: str, at: float = 0, who: dict[str, Any] | None = None) -> None:
        event = livekit_webhooks.event(
            name,
            room=self.room,
            at=self.began + timedelta(seconds=at),
            room_created_at=self.began + timedelta(milliseconds=250),
            participant=who,
        )
        body = livekit_webhooks.encode(event)
        response = await self.client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
        assert (response.status_code, response.json()) == (200, {"result": "recorded"})

    def who(self, sid: str, identity: str, at: float, **more: Any) -> dict[str, Any]:
        return livekit_webhooks.participant(sid, identity, joined_at=self.began + timedelta(seconds=at), **more)

    async def joined(self, sid: str, identity: str, at: float, **more: Any) -> None:
        kind = {"kind": "AGENT"} if identity == AGENT else {}
        await self.send("participant_joined", at, self.who(sid, identity, at, **kind | more))

    async def left(self, sid: str, identity: str, at: float, *, since: float = 0, **more: Any) -> None:
        kind = {"kind": "AGENT"} if identity == AGENT else {}
        more = {"reason": "CLIENT_INITIATED"} | kind | more
        await self.send("participant_left", at, self.who(sid, identity, since, **more))

    async def read(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.client.get(f"/interviews/{self.id}", headers=AUTHORIZED)).json()
        return body

    async def status(self) -> tuple[str, str | None]:
        body = await self.read()
        return body["status"], body["endReason"]

    async def connected(self) -> list[tuple[str, str]]:
        return [(who["identity"], who["role"]) for who in (await self.read())["connected"]]

    async def changes(self) -> list[tuple[str, str, str]]:
        """Return the status entries of the timeline: from, to, and the rule."""
        response = await self.client.get(f"/interviews/{self.id}/timeline", headers=AUTHORIZED)
        rows = [entry for entry in response.json()["data"] if entry["kind"] == "status"]
        assert all(entry["text"].startswith(f"{entry['detail']['from']} -> {entry['detail']['to']}") for entry in rows)
        return [(entry["detail"]["from"], entry["detail"]["to"], entry["name"]) for entry in rows]


async def schedule(client: httpx.AsyncClient) -> Interview:
    return Interview(client, (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json())


@pytest.fixture
async def interview(client: httpx.AsyncClient) -> Interview:
    return await schedule(client)


CANDIDATE_JOINED = ("READY_TO_JOIN", "WAITING_FOR_AGENT", "candidate_alone")
BOTH_JOINED = ("WAITING_FOR_AGENT", "IN_PROGRESS", "both_connected")


async def test_a_conversation_is_stored_as_facts(
    interview: Interview, sessions: async_sessionmaker[AsyncSession]
) -> None:
    await interview.send("room_started", 0)
    await interview.joined("PA_c", CANDIDATE, 1.5)
    await interview.joined("PA_a", AGENT, 2.25)
    await interview.left("PA_a", AGENT, 20, since=2.25, attributes={"interview.outcome": "completed"})
    await interview.left("PA_c", CANDIDATE, 40, since=1.5, reason="CONNECTION_TIMEOUT")
    await interview.send("room_finished", 45)
    began = interview.began
    async with sessions() as session:
        room = (await session.scalars(select(Room))).one()
        assert (room.sid, room.attempt) == ("RM_1", 1)
        assert room.created_at == began + timedelta(milliseconds=250)
        assert room.ended_at == began + timedelta(seconds=45) + SECOND
        connections = {row.sid: row for row in await session.scalars(select(Connection))}
        entry_ids = list(
            await session.scalars(select(TimelineEntry.id).where(TimelineEntry.kind == "livekit").order_by("id"))
        )
    assert connections.keys() == {"PA_c", "PA_a"}
    candidate, agent = connections["PA_c"], connections["PA_a"]
    assert (candidate.role, candidate.identity, candidate.room_sid) == ("CANDIDATE", CANDIDATE, "RM_1")
    assert (agent.role, agent.identity, agent.attempt) == ("AGENT", AGENT, 1)
    assert candidate.joined_at == began + timedelta(seconds=1.5)
    assert agent.joined_at == began + timedelta(seconds=2.25)
    # LiveKit's times are in whole seconds, and it notices a connection timeout 20 s late.
    assert agent.left_at == began + timedelta(seconds=20) + SECOND
    assert candidate.left_at == began + timedelta(seconds=40) + SECOND - timedelta(seconds=20)
    assert (agent.leave_reason, agent.outcome) == ("CLIENT_INITIATED", "completed")
    assert (candidate.leave_reason, candidate.outcome) == ("CONNECTION_TIMEOUT", None)
    orders = [candidate.joined_order, agent.joined_order, agent.left_order, candidate.left_order]
    assert orders == entry_ids[1:5]


async def test_an_aborted_connection_is_not_stored(
    interview: Interview, sessions: async_sessionmaker[AsyncSession]
) -> None:
    await interview.send(
        "participant_connection_aborted", 1, interview.who("PA_c", CANDIDATE, 1, reason="JOIN_FAILURE")
    )
    async with sessions() as session:
        assert (await session.scalars(select(Connection))).all() == []
    assert await interview.status() == ("READY_TO_JOIN", None)
    assert await interview.changes() == []


OTHERS: dict[str, dict[str, Any]] = {
    "sip": {"identity": CANDIDATE, "kind": "SIP"},
    "egress": {"identity": CANDIDATE, "kind": "EGRESS"},
    "ingress": {"identity": CANDIDATE, "kind": "INGRESS"},
    "unknown_kind": {"identity": CANDIDATE, "kind": "NEVER_HEARD_OF"},
    "hidden": {"identity": CANDIDATE, "hidden": True},
    "hidden_agent": {"identity": "agent-AJ_8", "kind": "AGENT", "hidden": True},
    "another_identity": {"identity": "recruiter-1"},
    "pretends_to_be_an_agent": {"identity": "agent-AJ_7", "kind": "STANDARD"},
    "avatar": {"identity": "avatar-1", "kind": "AGENT", "attributes": {"lk.publish_on_behalf": AGENT}},
}


async def test_other_participants_are_recorded_and_change_nothing(client: httpx.AsyncClient) -> None:
    for name, who in OTHERS.items():
        interview = await schedule(client)
        await interview.joined("PA_o", at=1, **who)
        assert (name, await interview.connected()) == (name, [(who["identity"], "OTHER")])
        await interview.joined("PA_a", AGENT, 2)
        assert await interview.status() == ("READY_TO_JOIN", None)
        await interview.left("PA_o", at=3, since=1, **who)
        assert await interview.connected() == [(AGENT, "AGENT")]
        assert await interview.status() == ("READY_TO_JOIN", None)
        assert (name, await interview.changes()) == (name, [])


async def test_other_participants_come_and_go_during_a_conversation(interview: Interview) -> None:
    await interview.joined("PA_c", CANDIDATE, 1)
    await interview.joined("PA_a", AGENT, 2)
    for number, who in enumerate(OTHERS.values()):
        stranger = who | {"identity": f"stranger-{number}"}
        await interview.joined(f"PA_{number}", at=3, **stranger)
        await interview.left(f"PA_{number}", at=4, since=3, **stranger | {"reason": "ROOM_DELETED"})
    assert await interview.status() == ("IN_PROGRESS", None)
    assert await interview.changes() == [CANDIDATE_JOINED, BOTH_JOINED]


async def test_the_agent_ends_the_conversation_by_leaving(interview: Interview) -> None:
    assert await interview.status() == ("READY_TO_JOIN", None)
    await interview.send("room_started", 0)
    assert await interview.status() == ("READY_TO_JOIN", None)
    await interview.joined("PA_c", CANDIDATE, 1)
    assert await interview.status() == ("WAITING_FOR_AGENT", None)
    await interview.joined("PA_a", AGENT, 2)
    assert await interview.status() == ("IN_PROGRESS", None)
    assert await interview.connected() == [(CANDIDATE, "CANDIDATE"), (AGENT, "AGENT")]
    await interview.left("PA_a", AGENT, 31, since=2)
    assert await interview.status() == ("COMPLETED", "AGENT_LEFT")
    await interview.left("PA_c", CANDIDATE, 33, since=1)
    await interview.send("room_finished", 40)
    body = await interview.read()
    assert (body["status"], body["endReason"], body["talkTime"]) == ("COMPLETED", "AGENT_LEFT", 30)
    assert datetime.fromisoformat(body["startedAt"]) == interview.began + timedelta(seconds=2)
    assert datetime.fromisoformat(body["endedAt"]) == interview.began + timedelta(seconds=32)
    assert await interview.changes() == [CANDIDATE_JOINED, BOTH_JOINED, ("IN_PROGRESS", "COMPLETED", "agent_left")]


async def test_the_agent_may_join_first(interview: Interview) -> None:
    await interview.joined("PA_a", AGENT, 1)
    assert await interview.status() == ("READY_TO_JOIN", None)
    await interview.joined("PA_c", CANDIDATE, 2)
    assert await interview.changes() == [("READY_TO_JOIN", "IN_PROGRESS", "both_connected")]


@pytest.mark.parametrize("reason", ["CONNECTION_TIMEOUT", "NEVER_HEARD_OF"])
@pytest.mark.parametrize(
    ("outcome", "status", "rule"),
    [("completed", "COMPLETED", "agent_reported_completed"), ("failed", "FAILED", "agent_reported_failed")],
)
async def test_the_agent_announces_the_outcome(
    interview: Interview, reason: str, outcome: str, status: str, rule: str
) -> None:
    await interview.joined("PA_c", CANDIDATE, 1)
    await interview.joined("PA_a", AGENT, 2)
    await interview.left("PA_a", AGENT, 40, since=2, reason=reason, attributes={"interview.outcome": outcome})
    assert await interview.status() == (status, "AGENT_REPORTED")
    assert await interview.changes() == [CANDIDATE_JOINED, BOTH_JOINED, ("IN_PROGRESS", status, rule)]


@pytest.mark.parametrize("outcome", ["pending", "nonsense", "comp\0leted?"])
async def test_without_a_final_outcome_the_candidate_waits_for_an_agent(interview: Interview, outcome: str) -> None:
    await interview.joined("PA_c", CANDIDATE, 1)
    await interview.joined("PA_a", AGENT, 2)
    await interview.left("PA_a", AGENT, 40, since=2, attributes={"interview.outcome": outcome})
    assert await interview.status() == ("WAITING_FOR_AGENT", None)
    assert (await interview.changes())[-1] == ("IN_PROGRESS", "WAITING_FOR_AGENT", "candidate_alone")


async def test_the_candidate_reconnects(interview: Interview) -> None:
    await interview.joined("PA_c1", CANDIDATE, 1)
    await interview.joined("PA_a", AGENT, 2)
    await interview.left("PA_c1", CANDIDATE, 20, since=1)
    assert await interview.status() == ("RECONNECTING", None)
    assert await interview.connected() == [(AGENT, "AGENT")]
    await interview.joined("PA_c2", CANDIDATE, 25)
    assert await interview.status() == ("IN_PROGRESS", None)
    away = ("IN_PROGRESS", "RECONNECTING", "candidate_away")
    assert await interview.changes() == [
        CANDIDATE_JOINED,
        BOTH_JOINED,
        away,
        ("RECONNECTING", "IN_PROGRESS", "both_connected"),
    ]


@pytest.mark.parametrize(("sid", "identity", "kind"), [("PA_c", CANDIDATE, "CANDIDATE"), ("PA_a", AGENT, "AGENT")])
async def test_a_join_after_its_own_leave_stays_left(
    interview: Interview, sessions: async_sessionmaker[AsyncSession], sid: str, identity: str, kind: str
) -> None:
    await interview.left(sid, identity, 3, since=1)
    await interview.joined(sid, identity, 1)
    assert await interview.connected() == []
    assert await interview.status() == ("READY_TO_JOIN", None)
    async with sessions() as session:
        row = (await session.scalars(select(Connection))).one()
    assert (row.role, row.leave_reason) == (kind, "CLIENT_INITIATED")
    assert row.left_at == interview.began + timedelta(seconds=3) + SECOND


async def test_the_first_leave_of_a_sid_stands(
    interview: Interview, sessions: async_sessionmaker[AsyncSession]
) -> None:
    await interview.joined("PA_c", CANDIDATE, 1)
    await interview.left("PA_c", CANDIDATE, 3, since=1)
    await interview.left("PA_c", CANDIDATE, 9, since=1, reason="ROOM_DELETED")
    async with sessions() as session:
        row = (await session.scalars(select(Connection))).one()
    assert (row.left_at, row.leave_reason) == (interview.began + timedelta(seconds=3) + SECOND, "CLIENT_INITIATED")


async def test_nothing_changes_the_status_after_the_end(interview: Interview) -> None:
    await interview.joined("PA_c", CANDIDATE, 1)
    await interview.joined("PA_a", AGENT, 2)
    await interview.left("PA_a", AGENT, 30, since=2)
    before = await interview.read()
    await interview.joined("PA_c2", CANDIDATE, 35)
    await interview.joined("PA_a2", AGENT, 36)
    after = await interview.read()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"connected"}
    assert len(await interview.changes()) == 3

"""Erasing personal data: what goes, what stays, who may erase, and what arrives late."""

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import ARRAY, JSON, LargeBinary, String, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.auth.api_keys import Scope, create_key
from app.core.timestamps import rfc3339
from app.interviews.erasure import TEXTS
from app.interviews.schedule import ensure_organization
from app.models import Change, Connection, Delivery, Interview, JoinRequest, TimelineEntry, WrongTry
from app.models.base import Base
from tests import livekit_webhooks
from tests.conftest import AUTHORIZED
from tests.interview_driver import InterviewDriver
from tests.join_client import at, behind, invited, try_join
from tests.stored import everything, places_of
from tests.transcripts import append, appended, get_checkpoint, line, put_checkpoint

Sessions = async_sessionmaker[AsyncSession]

PERSON: dict[str, Any] = {
    "participantName": "Layla Al-Qahtani ليلى",
    "phoneNumber": "+966 51 234 5678",
    "jobTitle": "Successor of Layla",
    "companyName": "Qahtani Holding",
    "instructions": "Greet Mrs Qahtani, she lives in Unayzah.",
    "context": {"cv": "Graduated in Buraydah"},
}
CANDIDATE = "candidate-c"
AGENT = "agent-AJ_1"
GUEST = "observer-Huda-Alharbi"
NEEDLES = (
    "Layla", "ليلى", "Qahtani", "51 234 5678", "966512345678", "512345678", "Unayzah", "Buraydah",
    "Tabuk", "Najran", "Huda", "Jubail", "candidate-c", "agent-AJ", "Hofuf", "Abha",
)  # fmt: skip
EMPTIED = ("participantName", "phoneNumber", "jobTitle", "companyName", "instructions")


@dataclass
class Story:
    """An interview that is over, after everything that stores personal data."""

    driver: InterviewDriver
    made: dict[str, Any]
    before: dict[str, Any]
    needles: list[str]
    requests: dict[str, dict[str, Any]]
    """Requests by the Idempotency-Key that they were made with."""

    @property
    def path(self) -> str:
        return f"/interviews/{self.made['interviewId']}"

    async def erase(self) -> httpx.Response:
        return await self.driver.client.delete(f"{self.path}/personal-data", headers=AUTHORIZED)

    async def timeline(self) -> list[dict[str, Any]]:
        response = await self.driver.client.get(f"{self.path}/timeline", headers=AUTHORIZED)
        entries: list[dict[str, Any]] = response.json()["data"]
        return entries

    async def replay(self, key: str) -> httpx.Response:
        request = self.requests[key]
        return await self.driver.client.post(
            request["path"], headers={**AUTHORIZED, "Idempotency-Key": key}, json=request["json"]
        )


@pytest.fixture
async def driver(sessions: Sessions) -> AsyncIterator[InterviewDriver]:
    async with behind(sessions, "phone") as driver:
        yield driver


async def play_story(driver: InterviewDriver) -> Story:
    ids = {"candidateId": "c", "applicationId": "a", "jobPostId": "j"}
    other = ids | {"jobTitle": "Developer", "phoneNumber": "966509876543", "participantName": "Somebody Else"}
    requests: dict[str, dict[str, Any]] = {
        "batch": {"path": "/interviews/batch", "json": {"interviews": [ids | PERSON, other]}}
    }
    story = Story(driver, {}, {}, list(NEEDLES), requests)
    story.made = (await story.replay("batch")).json()["data"][0]
    made = story.made
    secret = await invited(driver, made)
    assert (await try_join(driver, made, phoneNumber="+966 51 234 0000")).status_code == 403
    assert (await try_join(driver, made, phoneNumber="0512345678")).status_code == 200
    await send_event(driver, made, "participant_connection_aborted", "PA_1", GUEST)
    await send_event(driver, made, "participant_joined", "PA_2", GUEST)
    await send_event(driver, made, "participant_joined", "PA_3", CANDIDATE)
    await send_event(driver, made, "participant_joined", "PA_4", AGENT)
    driver.later(2)
    await send_event(driver, made, "participant_left", "PA_4", AGENT, outcome="Jubail said it all")
    await send_event(driver, made, "participant_joined", "PA_5", "agent-AJ_2")
    driver.later(2)
    assert await appended(driver.client, made, line(1, "I grew up in Hofuf.", "candidate")) == (1, 1)
    assert (await put_checkpoint(driver.client, made, 1, {"notes": ["her school in Abha"]})).status_code == 204
    report = {"roomName": made["roomName"], "outcome": "completed", "summary": "She moved to Tabuk.",
              "result": {"notes": ["of Najran"]}}  # fmt: skip
    requests["complete"] = {"path": f"{story.path}/complete", "json": report}
    assert (await story.replay("complete")).status_code == 200
    story.before = await driver.get(made)
    assert story.before["status"] == "COMPLETED"
    story.needles += [secret, hashlib.sha256(secret.encode()).hexdigest()]
    return story


async def send_event(
    driver: InterviewDriver, made: dict[str, Any], name: str, sid: str, identity: str, outcome: str = ""
) -> None:
    """Send a webhook about a participant. Its sid stays, and is not personal."""
    who = livekit_webhooks.participant(
        sid,
        identity,
        joined_at=driver.now,
        kind="AGENT" if identity.startswith("agent-") else "STANDARD",
        reason="CLIENT_INITIATED" if name == "participant_left" else "",
        attributes={"interview.outcome": outcome},
    )
    await driver.hears(made, name, participant=who)


@pytest.fixture
async def story(driver: InterviewDriver) -> Story:
    return await play_story(driver)


async def addresses(sessions: Sessions) -> int:
    """Return how many hashed addresses of joins are stored."""
    async with sessions() as session:
        joins = await session.scalar(select(func.count()).where(JoinRequest.address.is_not(None)))
        return (joins or 0) + (await session.scalar(select(func.count()).select_from(WrongTry)) or 0)


async def test_no_table_holds_personal_data(story: Story, sessions: Sessions) -> None:
    # A webhook's body and a secret are never stored.
    never = {"966512345678", *story.needles[len(NEEDLES) :][:1]}
    before = await places_of(sessions, story.needles)
    assert {needle for needle, places in before.items() if not places} <= never, before
    assert await addresses(sessions) == 3
    assert (await story.erase()).status_code == 204
    after = await places_of(sessions, story.needles)
    assert not any(after.values()), after
    assert await addresses(sessions) == 0
    assert "Somebody Else" in str(await everything(sessions))


async def test_a_tombstone_stays(story: Story) -> None:
    await story.erase()
    read = await story.driver.get(story.made)
    assert read["personalDataErasedAt"] == read["updatedAt"] == rfc3339(story.driver.now)
    assert [read[name] for name in (*EMPTIED, "summary", "result")] == [""] * 5 + [None] * 2
    assert [each["identity"] for each in read["connected"]] == ["other", "candidate", "agent"]
    assert (story.before["transcriptLines"], read["transcriptLines"]) == (1, 0)
    changed = {
        *EMPTIED,
        "summary",
        "result",
        "transcriptLines",
        "connected",
        "updatedAt",
        "sequence",
        "personalDataErasedAt",
    }
    same = story.before.keys() - changed
    assert {"status", "endReason", "startedAt", "endedAt", "talkTime", "joinAttempts", "candidateId"} <= same
    assert {name: read[name] for name in same} == {name: story.before[name] for name in same}
    listed = (await story.driver.client.get("/interviews", headers=AUTHORIZED, params={"candidateId": "c"})).json()
    (mine,) = [each for each in listed["data"] if each["interviewId"] == read["interviewId"]]
    assert mine == {name: read[name] for name in mine}
    context = await story.driver.client.get(f"{story.path}/context", headers=AUTHORIZED)
    assert context.json()["context"] is None


async def test_search_no_longer_finds_it(story: Story) -> None:
    async def found(q: str) -> int:
        response = await story.driver.client.get("/interviews", headers=AUTHORIZED, params={"q": q})
        return len(response.json()["data"])

    words = ("Layla", "ليلى", "Successor", "512345678")
    assert [await found(word) for word in words] == [1] * 4
    await story.erase()
    assert [await found(word) for word in words] == [0] * 4


async def test_the_timeline_keeps_what_happened(story: Story) -> None:
    before = await story.timeline()
    await story.erase()
    after = await story.timeline()
    assert [(each["at"], each["kind"], each["name"]) for each in after[:-1]] == [
        (each["at"], each["kind"], each["name"]) for each in before
    ]
    texts = [each["text"] for each in after]
    assert texts[-1] == "The personal data was erased"
    assert "Someone joined" in texts
    assert "The candidate joined" in texts
    assert "The agent left (CLIENT_INITIATED)" in texts
    assert "IN_PROGRESS -> COMPLETED / AGENT_REPORTED: the agent reported that the conversation was completed" in texts


async def test_the_change_has_no_personal_data(story: Story, sessions: Sessions) -> None:
    before = (await story.driver.get(story.made))["sequence"]
    await story.erase()
    async with sessions() as session:
        change = await session.scalar(select(Change).order_by(Change.id.desc()).limit(1))
    assert change
    assert (change.type, change.status, change.previous_status, change.sequence) == (
        "interview.personal_data_erased", "COMPLETED", "COMPLETED", before + 1,
    )  # fmt: skip


async def test_webhook_endpoints_get_it_once(driver: InterviewDriver, sessions: Sessions) -> None:
    body = {"url": "https://hooks.example/x", "eventTypes": ["interview.personal_data_erased"]}
    assert (await driver.client.post("/webhook-endpoints", headers=AUTHORIZED, json=body)).status_code == 201
    story = await play_story(driver)
    await story.erase()
    await story.erase()
    async with sessions() as session:
        assert await session.scalar(select(func.count()).select_from(Delivery)) == 1


async def test_erasing_again_changes_nothing(story: Story, sessions: Sessions) -> None:
    await story.erase()
    before = await everything(sessions)
    story.driver.later(60)
    assert (await story.erase()).status_code == 204
    assert await everything(sessions) == before


async def test_an_interview_that_is_not_over_is_refused(driver: InterviewDriver, sessions: Sessions) -> None:
    made = await driver.new(**PERSON)
    before = await everything(sessions)
    response = await driver.client.delete(f"/interviews/{made['interviewId']}/personal-data", headers=AUTHORIZED)
    assert (response.status_code, response.json()["code"]) == (409, "interview_not_over")
    assert "Cancel it first" in response.json()["detail"]
    assert await everything(sessions) == before
    assert (await driver.call(made, "cancel")).status_code == 200
    response = await driver.client.delete(f"/interviews/{made['interviewId']}/personal-data", headers=AUTHORIZED)
    assert response.status_code == 204


async def key_of(sessions: Sessions, *, organization: str, scopes: list[Scope], now: datetime) -> dict[str, str]:
    """Return the Authorization header of a new key."""
    async with sessions.begin() as session:
        owner = await ensure_organization(session, name=organization)
        made = await create_key(session, organization_id=owner, name=organization, scopes=scopes, now=now)
    assert made
    return {"Authorization": f"Bearer {made[1]}"}


async def test_a_write_key_is_not_enough(story: Story, sessions: Sessions) -> None:
    scopes = [Scope.READ, Scope.WRITE, Scope.AGENT]
    header = await key_of(sessions, organization="default", scopes=scopes, now=story.driver.now)
    before = await everything(sessions)
    response = await story.driver.client.delete(f"{story.path}/personal-data", headers=header)
    assert (response.status_code, response.json()["code"]) == (403, "missing_scope")
    assert (await story.driver.client.delete(f"{story.path}/personal-data")).status_code == 401
    assert await everything(sessions) == before


async def test_another_organizations_interview_is_not_found(story: Story, sessions: Sessions) -> None:
    header = await key_of(sessions, organization="ACME", scopes=list(Scope), now=story.driver.now)
    before = await everything(sessions)
    foreign = await story.driver.client.delete(f"{story.path}/personal-data", headers=header)
    unknown = await story.driver.client.delete(
        "/interviews/6a0b1f7c-52b5-4a5e-9d6c-0d8c1d2f3a4b/personal-data", headers=header
    )
    for response in (foreign, unknown):
        assert response.status_code == 404
    assert {**foreign.json(), "requestId": ""} == {**unknown.json(), "requestId": ""}
    assert await everything(sessions) == before


async def test_every_call_on_a_tombstone_is_refused(story: Story, sessions: Sessions) -> None:
    await story.erase()
    before = await everything(sessions)
    client, given = story.driver.client, {"headers": AUTHORIZED}
    report = story.requests["complete"]["json"]
    responses = [
        await client.post(f"{story.path}/join"),
        await client.post(f"{story.path}/join", json={"phoneNumber": PERSON["phoneNumber"]}),
        await client.post(f"{story.path}/token"),
        await client.post(f"{story.path}/reopen", **given),  # type: ignore[arg-type] # httpx has many options
        await client.post(f"{story.path}/cancel", **given),  # type: ignore[arg-type]
        await client.post(f"{story.path}/complete", json=report, headers=AUTHORIZED),
        await client.patch(f"{story.path}", json={"participantName": "Layla"}, headers=AUTHORIZED),
        await client.post(f"{story.path}/invite", **given),  # type: ignore[arg-type]
        await client.delete(f"{story.path}/invite", **given),  # type: ignore[arg-type]
        await append(client, story.made, line(2)),
        await client.get(f"{story.path}/transcript", **given),  # type: ignore[arg-type]
        await put_checkpoint(client, story.made, 2, {}),
        await get_checkpoint(client, story.made),
    ]
    assert [(response.status_code, response.json()["code"]) for response in responses] == [
        (410, "interview_erased")
    ] * 13
    assert await everything(sessions) == before


@pytest.mark.parametrize("policy", ["open", "phone", "invite"])
async def test_no_policy_lets_anyone_into_an_erased_failed_interview(sessions: Sessions, policy: str) -> None:
    """A join after FAILED opens the next attempt, but not of a tombstone."""
    async with behind(sessions, policy) as driver:
        made = await driver.new(**PERSON)
        secret = await invited(driver, made)
        await driver.fails(made)
        path = f"/interviews/{made['interviewId']}"
        assert (await driver.client.delete(f"{path}/personal-data", headers=AUTHORIZED)).status_code == 204
        async with at(driver.app, "203.0.113.9") as stranger:
            response = await stranger.post(f"{path}/join", json={"invite": secret})
        assert (response.status_code, response.json()["code"]) == (410, "interview_erased")
        assert (await driver.get(made))["attempt"] == 1


async def test_a_replayed_response_has_no_personal_data(story: Story) -> None:
    """The Idempotency-Key still works, and the other interviews of a batch are as before."""
    first = (await story.replay("batch")).json()["data"]
    await story.erase()
    again = await story.replay("batch")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    mine, other = again.json()["data"]
    assert [mine[name] for name in EMPTIED] == [""] * 5
    assert mine["interviewId"] == story.made["interviewId"]
    assert mine["personalDataErasedAt"]
    assert other == first[1]
    again = await story.replay("complete")
    assert (again.status_code, again.json()["status"], again.json()["connected"]) == (200, "COMPLETED", [])


async def test_late_webhooks_bring_nothing_back(story: Story, sessions: Sessions) -> None:
    driver, made = story.driver, story.made
    await story.erase()
    driver.later(1)
    await send_event(driver, made, "participant_left", "PA_3", CANDIDATE)
    await send_event(driver, made, "participant_joined", "PA_6", "agent-AJ_3")
    await send_event(driver, made, "participant_left", "PA_6", "agent-AJ_3", outcome="Jubail again")
    await send_event(driver, made, "participant_joined", "PA_7", GUEST)
    await driver.hears(made, "room_finished")
    after = await places_of(sessions, story.needles)
    assert not any(after.values()), after
    async with sessions() as session:
        rows = await session.execute(select(Connection.sid, Connection.identity))
        known = {row.sid: row.identity for row in rows}
    assert (known["PA_3"], known["PA_6"], known["PA_7"]) == ("candidate", "agent", "other")
    assert (await driver.get(made))["connected"] == []
    assert [each["text"] for each in (await story.timeline())[-5:]] == [
        "The candidate left (CLIENT_INITIATED)", "The agent joined", "The agent left (CLIENT_INITIATED)",
        "Someone joined", "The room was closed",
    ]  # fmt: skip


async def test_unknown_timeline_details_are_erased(story: Story, sessions: Sessions) -> None:
    """Unknown keys count as personal data."""
    async with sessions.begin() as session:
        interview = await session.get_one(Interview, story.made["interviewId"])
        entry = TimelineEntry.about(interview, kind="call", name="future_kind", detail={"remark": "Layla was kind"})
        session.add(entry)
    await story.erase()
    assert (await story.timeline())[-2]["detail"] == {}


# Every column that holds text, JSON or bytes. docs/operations.md lists the personal ones.
PERSONAL = {
    "interviews": {*TEXTS, "search_text", "context", "invite_hash", "candidate_id", "application_id", "job_post_id"},
    "connections": {"identity"},
    "reports": {"summary", "result"},
    "transcript_lines": {"text", "agent", "line_id"},
    "checkpoints": {"state", "agent", "earlier_agents"},
    "join_requests": {"address"},
    "wrong_tries": {"address"},
    "timeline": {"detail"},
    "idempotency_keys": {"body", "key", "fingerprint"},
}
HARMLESS = {
    "interviews": {"status", "end_reason", "decided_cause", "decided_status", "decided_end_reason"},
    "connections": {"sid", "room_sid", "role", "leave_reason", "outcome"},
    "reports": {"outcome"},
    "transcript_lines": {"speaker"},
    "join_requests": {"answer"},
    "refused_joins": {"answer"},
    "rooms": {"sid"},
    "timeline": {"kind", "name", "livekit_event_id"},
    "idempotency_keys": {"headers"},
    "changes": {"type", "status", "previous_status", "end_reason"},
    "deliveries": {"state"},
    "delivery_attempts": {"error"},
    "webhook_endpoints": {"url", "description", "event_types", "secret", "previous_secret", "disabled_reason"},
    "organizations": {"name", "company_name", "instructions_template", "join_policy", "rejoin_after_failure"},
    "api_keys": {"name", "key_hash", "scopes"},
    "ticks": {"name"},
    "interview_counts": {"job_post_id", "status"},
    "count_changes": {"job_post_id", "status"},
    "probes": {"room"},
}


def test_each_column_is_classified() -> None:
    """Add a new column to one of the two lists; if it is personal, also to the erasure and the docs."""
    holding = (String, JSON, LargeBinary, ARRAY)
    columns_of = {
        name: {column.name for column in table.columns if isinstance(column.type, holding)} - {"interview_ids"}
        for name, table in Base.metadata.tables.items()
    }
    known = {name: PERSONAL.get(name, set()) | HARMLESS.get(name, set()) for name in {*PERSONAL, *HARMLESS}}
    assert {name: columns for name, columns in columns_of.items() if columns} == known


def test_the_docs_name_each_personal_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = page[page.index("## Personal data") :]
    rows = section[: section.index("LiveKit's webhooks are read")]
    assert [name for name in Base.metadata.tables if name not in rows] == []
    columns = {column for of_table in PERSONAL.values() for column in of_table}
    assert [column for column in sorted(columns) if not re.search(rf"\b{column}\b", rows)] == []

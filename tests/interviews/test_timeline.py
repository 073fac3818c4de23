"""The timeline: all that happened, in order, in sentences that a recruiter can read."""

import inspect
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.core.database import transaction
from app.interviews import livekit_events, timeline
from app.interviews.timeline import CALLS, EVENTS, RULES, SERVICE_ACTIONS, Entry
from app.lifecycle import EndReason, Status, end_rules
from app.worker import effects
from tests.conftest import AUTHORIZED
from tests.interview_driver import AGENT, InterviewDriver, RealTime

UNREADABLE = re.compile(r"[{}?_\[\]]|None|\bnull\b|Status\.")


@pytest.fixture
def driver(app: FastAPI, client: httpx.AsyncClient) -> InterviewDriver:
    return RealTime(app, client)


async def read(driver: InterviewDriver, interview: dict[str, Any], **query: Any) -> dict[str, Any]:
    path = f"/interviews/{interview['interviewId']}/timeline"
    answer = await driver.client.get(path, headers=AUTHORIZED, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def a_whole_life(driver: InterviewDriver) -> dict[str, Any]:
    """Two attempts."""
    closes_at = driver.now + timedelta(hours=2)
    made = await driver.new(opensAt=(driver.now + timedelta(hours=1)).isoformat(), closesAt=closes_at.isoformat())
    await driver.join(made)
    async with transaction(driver.app.state.services.sessions) as session:
        await session.execute(text("UPDATE interviews SET opens_at = now()"))
    await driver.join(made)
    await driver.hears(made, "room_started")
    await driver.comes(made)
    await driver.comes(made, AGENT)
    await driver.goes(made)
    await driver.complete(made, "failed")
    await driver.join(made)
    await driver.call(made, "cancel")
    await driver.join(made)
    return made


async def test_everything_is_listed_in_order(driver: InterviewDriver) -> None:
    made = await a_whole_life(driver)
    entries = (await read(driver, made))["data"]
    assert [(entry["kind"], entry["name"], entry["attempt"]) for entry in entries] == [
        ("call", "scheduled", 1),
        ("call", "too_early", 1),
        ("call", "TOKEN_ISSUED", 1),
        ("livekit", "room_started", 1),
        ("livekit", "participant_joined", 1),
        ("status", "candidate_alone", 1),
        ("livekit", "participant_joined", 1),
        ("status", "both_connected", 1),
        ("livekit", "participant_left", 1),
        ("status", "candidate_away", 1),
        ("call", "reported", 1),
        ("status", "agent_reported_failed", 1),
        ("status", "attempt_opened", 2),
        ("call", "TOKEN_ISSUED", 2),
        ("call", "cancelled", 2),
        ("status", "cancelled", 2),
        ("call", "interview_over", 2),
    ]
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)


async def test_each_sentence_can_be_read(driver: InterviewDriver) -> None:
    made = await a_whole_life(driver)
    for entry in (await read(driver, made))["data"]:
        words = re.sub(r"agent-AJ_1|[A-Z]+(_[A-Z]+)+|too_early|interview_over", "", entry["text"])
        assert not UNREADABLE.search(words), entry["text"]


@pytest.mark.parametrize("limit", [1, 2, 5, 16, 17, 500])
async def test_pages_join_up(driver: InterviewDriver, limit: int) -> None:
    made = await a_whole_life(driver)
    whole = (await read(driver, made))["data"]
    found, cursor = [], None
    for _ in range(30):
        page = await read(driver, made, limit=limit, **({"cursor": cursor} if cursor else {}))
        assert len(page["data"]) <= limit
        found += page["data"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert found == whole


async def test_what_happens_in_one_instant_is_neither_lost_nor_repeated(driver: InterviewDriver) -> None:
    made = await driver.new()
    for _ in range(5):
        await driver.join(made)
    await driver.talk(made)
    found, cursor = [], None
    while True:
        page = await read(driver, made, limit=2, **({"cursor": cursor} if cursor else {}))
        found += [(entry["kind"], entry["name"]) for entry in page["data"]]
        cursor = page["nextCursor"]
        if not cursor:
            break
    assert len(found) == 10
    assert found.count(("call", "TOKEN_ISSUED")) == 5


@pytest.mark.parametrize(
    "cursor", ["x", "eA", "MS4yLjM", "LTEuMC4x", "OTk5OTk5OTk5OTk5OTk5OTk5OTkuMC4x", "é", "=", "MS4wLi0x"]
)
async def test_an_invalid_cursor(driver: InterviewDriver, cursor: str) -> None:
    made = await driver.new()
    path = f"/interviews/{made['interviewId']}/timeline"
    answer = await driver.client.get(path, headers=AUTHORIZED, params={"cursor": cursor})
    assert answer.status_code in (200, 422), answer.text


async def test_another_organizations_timeline_is_not_there(driver: InterviewDriver) -> None:
    made = await driver.new()
    path = f"/interviews/{made['interviewId']}/timeline"
    assert (await driver.client.get(path)).status_code == 401
    assert (await driver.client.get("/interviews/nobody/timeline", headers=AUTHORIZED)).status_code == 404


def test_each_rule_has_its_words() -> None:
    rules = {rule.__name__ for rule in end_rules.END_RULES}
    for module in (end_rules, sys.modules["app.lifecycle.derive"]):
        source = inspect.getsource(module)
        rules |= set(re.findall(r'Status\.[A-Z_]+, "([a-z_]+)"', source))
        rules |= set(re.findall(r'EndCandidate\([^"]+, "([a-z_]+)"', source))
    rules |= {"amended"}
    assert rules <= set(RULES), rules - set(RULES)


def _entry(kind: str, name: str, detail: dict[str, Any]) -> Entry:
    return Entry(datetime.now(UTC), 0, 1, 2, kind, name, detail)


WHO = {"identity": "candidate-c", "sid": "PA_1", "reason": "CLIENT_INITIATED", "kind": "STANDARD"}
ASKED = {"present": ["candidate-c"], "joined": [], "gone": ["agent-AJ_1"], "roomSid": "RM_1"}


@pytest.mark.parametrize(
    ("kind", "name", "detail"),
    [
        *(("livekit", name, ASKED if name == "room_checked" else WHO) for name in EVENTS),
        *(("service", name, {"why": "it does not answer", "secondsLeft": 300}) for name in SERVICE_ACTIONS),
        *(
            ("call", name, {"outcome": "completed", "fields": ["jobTitle"], "expiresAt": "2026-11-22T09:00:00Z"})
            for name in CALLS
        ),
        *(("call", name, {}) for name in ("too_early", "interview_over")),
        *(
            ("status", name, {"from": Status.IN_PROGRESS, "to": Status.FAILED, "endReason": EndReason.AGENT_LEFT})
            for name in RULES
        ),
        ("status", "attempt_opened", {"why": "the recruiter opened it again", "before": {}}),
    ],
)
def test_every_sentence_can_be_read(kind: str, name: str, detail: dict[str, Any]) -> None:
    sentence = _entry(kind, name, detail).sentence
    assert sentence[0].isupper()
    words = re.sub(r"agent-AJ_1|[A-Z]+(_[A-Z]+)+|too_early", "", sentence)
    words = words.replace("interview_over", "")
    assert not UNREADABLE.search(words), sentence


def test_the_worker_writes_nothing_that_has_no_words() -> None:
    written = re.findall(r"{_INSERT_ENTRY} '([a-z_]+)'", inspect.getsource(effects))
    assert len(written) == 4
    assert set(written) <= set(SERVICE_ACTIONS)
    assert set(timeline.EVENTS) >= livekit_events.RECORDED

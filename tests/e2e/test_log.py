"""The log of a service contains no personal data and no secrets, after all features, refusals and failures.

The test searches for all values that the run sent and received, so new fields are covered automatically.
"""

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from app.livekit.rooms import ROOM_NAME
from tests import livekit_webhooks
from tests.e2e.agent import Agent
from tests.e2e.candidate import Candidate
from tests.e2e.clients import Join
from tests.e2e.conditions import eventually
from tests.e2e.outages import OwnStack, audit
from tests.e2e.service import Service
from tests.e2e.stack import Stack
from tests.webhooks.receiver import Receiver, receiving, status

pytestmark = pytest.mark.e2e

PERSON: dict[str, Any] = {
    "candidateId": "cand-of-the-log",
    "applicationId": "appl-of-the-log",
    "jobPostId": "post-of-the-log",
    "participantName": "Layla Al-Qahtani",
    "phoneNumber": "+966 51 234 5678",
    "jobTitle": "Keeper of Falcons",
    "companyName": "Qahtani Holding",
    "instructions": "Greet her in Unayzah's way.",
    "context": {"cv": ["Graduated in Buraydah"]},
}
REFUSED = "Refused By-The-Database"
SPELLINGS = ("+966 51 234 5678", "00966512345678", "٠٥١٢٣٤٥٦٧٨", "0512345678", "+966-(0)51-234-5678")
WRONG = "+966 51 999 8877"
NAME_FIELDS = {
    "roomName",
    "outcome",
    "eventTypes",
    "joinPolicy",
    "event",
    "sid",
    "speaker",
}  # sent names, ours or LiveKit's
SECRET_FIELDS = {"participantToken", "participant_token", "invite", "secret", "url"}  # secrets in responses
MIN_LENGTH = 4  # characters; shorter texts occur anywhere
PATTERNS = re.compile(r"eyJ[\w-]{6}|ik_[0-9a-f]{6}|inv_[0-9a-z]{4}|whsec_")


@dataclass
class Traffic:
    """All that was sent to the service and received from it, as far as the log must not contain it."""

    needles: set[str] = field(default_factory=set)

    def add(self, *texts: str) -> None:
        self.needles |= {text for text in texts if len(text) >= MIN_LENGTH}

    async def request(self, request: httpx.Request) -> None:
        self.add(request.headers.get("Authorization", "").removeprefix("Bearer "), request.url.query.decode())
        self.add(*request.url.params.values())
        with suppress(ValueError):
            sent = leaves(json.loads(await request.aread()))
            self.add(*(text for name, text in sent if name not in NAME_FIELDS and not ROOM_NAME.fullmatch(text)))

    async def answer(self, answer: httpx.Response) -> None:
        with suppress(ValueError):
            self.add(*(text for name, text in leaves(json.loads(await answer.aread())) if name in SECRET_FIELDS))

    def found_in(self, log: str) -> set[str]:
        return {needle for needle in self.needles if needle.lower() in log.lower()}


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in JSON, each with the names of its fields."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    elif isinstance(value, str):
        yield name, value


def numbers_in(log: str, number: str) -> list[str]:
    """Return the lines with the number in any form: digits of any script, with any separators."""
    digits = [str(unicodedata.decimal(letter)) for letter in number if letter.isdecimal()]
    within = re.compile(r"[\s().+-]*".join(digits[-9:]))
    ascii_log = "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in log)
    return [line for line in ascii_log.splitlines() if within.search(line)]


@dataclass
class Run:
    """A running stack, and a client that records its traffic."""

    stack: Stack
    client: httpx.AsyncClient
    traffic: Traffic
    command_output: str = ""
    """The standard error of commands, and the standard output of those that list keys or faults."""

    @property
    def key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.stack.service.api_key}"}

    async def call(self, method: str, path: str, expected: int, **more: Any) -> Any:
        answer = await self.client.request(method, path, **{"headers": self.key, **more})
        assert answer.status_code == expected, (method, path, answer.text)
        return answer.json() if answer.content else None

    def command(self, *arguments: str, is_log: bool = False) -> str:
        """Run `interviews` beside the service; return its output."""
        service = self.stack.service
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "app.cli", *arguments],
            env=service.env, cwd=service.log.parent, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        self.command_output += done.stderr + (done.stdout if is_log else "")
        return done.stdout


@asynccontextmanager
async def call_service(stack: Stack) -> AsyncIterator[Run]:
    traffic = Traffic()
    webhook_driver: dict[str, list[Callable[..., Any]]] = {"request": [traffic.request], "response": [traffic.answer]}
    async with httpx.AsyncClient(base_url=stack.service.url, timeout=30, event_hooks=webhook_driver) as client:
        yield Run(stack, client, traffic)


def verbose_settings(service: Service, **settings: str) -> None:
    """Restart the service with other settings, and with Python's debug output."""
    service.stop()
    service.env.update(settings, PYTHONASYNCIODEBUG="1", PYTHONDEVMODE="1")
    service.start()


async def schedule_and_edit(run: Run) -> dict[str, Any]:
    keyed = {"headers": {**run.key, "Idempotency-Key": "key-of-the-log"}}
    made: dict[str, Any] = await run.call("POST", "/interviews", 201, json=PERSON, **keyed)
    await run.call("POST", "/interviews", 201, json=PERSON, **keyed)
    await run.call("POST", "/interviews/batch", 201, json={"interviews": [PERSON | {"participantName": "Noura Batch"}]})
    path = f"/interviews/{made['interviewId']}"
    await run.call("PATCH", path, 200, json={"instructions": "Ask about Hofuf.", "context": ["of Jubail"]})
    await run.call("PATCH", path, 422, json={"phoneNumber": "no number of Layla's", "maxDuration": "long in Tabuk"})
    await run.call("POST", "/interviews", 422, json=PERSON | {"opensAt": "when Layla comes", "remark": "of Najran"})
    await run.call("POST", "/interviews", 422, content=b'{"participantName": "Layla Broken')
    await run.call("GET", "/interviews", 200, params={"q": "Layla Al-Qahtani +966 51"})
    await run.call("GET", "/interviews", 422, params={"phone": "0512345678", "key": "ik_in_the_query"})
    await run.call("GET", f"{path}/context", 200)
    return made


async def try_all_joins(run: Run, made: dict[str, Any]) -> dict[str, Any]:
    """Join in every way, wrong and right; return the successful response."""
    path = f"/interviews/{made['interviewId']}"
    await run.call("POST", f"{path}/join", 401, headers={})
    await run.call("POST", f"{path}/join", 403, headers={}, json={"phoneNumber": WRONG})
    for number in SPELLINGS:
        await run.call("POST", f"{path}/join", 200, headers={}, json={"phoneNumber": number})
    invite = (await run.call("POST", f"{path}/invite", 201, json={}))["invite"]
    await run.call("POST", f"{path}/join", 403, headers={}, json={"invite": "inv_guessed_0123456789"})
    await run.call("POST", f"{path}/join", 200, headers={}, json={"invite": invite})
    bearer = {"Authorization": f"Bearer {invite}"}
    await run.call("POST", f"{path}/token", 201, headers=bearer, json={})
    await run.call("POST", f"{path}/token", 422, headers=bearer, json={"participant_name": "Hessa The Wisher"})
    for secret in (invite, "+966512345678", run.stack.service.api_key, "layla-al-qahtani"):
        await run.call("POST", f"/interviews/{secret}/join", 404, json={})
        await run.call("GET", f"/{secret}", 404, params={"invite": secret})
        run.traffic.add(secret)
    await run.call("PATCH", "/organization", 200, json={"joinPolicy": "invite"})
    await run.call("POST", f"{path}/join", 401, headers={}, json={"phoneNumber": SPELLINGS[0]})
    answer: dict[str, Any] = await run.call("POST", f"{path}/join", 200, headers=bearer)
    return answer


async def send_webhooks(run: Run, made: dict[str, Any]) -> None:
    """Send forged webhooks, and signed ones without a valid event or interview; LiveKit sends the real ones."""
    livekit, at = run.stack.livekit, datetime.now(UTC)
    who = livekit_webhooks.participant("PA_9", "observer-Huda", joined_at=at) | {"name": "Huda Of-The-Webhook"}
    for room in (made["roomName"], "a room for Huda", "interview-6a0b1f7c-52b5-4a5e-9d6c-0d8c1d2f3a4b"):
        body = livekit_webhooks.encode(livekit_webhooks.event("participant_joined", room=room, at=at, participant=who))
        right = livekit_webhooks.sign(body, livekit.api_key, livekit.api_secret)
        for signature, expected in (("", 401), (livekit_webhooks.sign(body), 401), (right + "x", 401), (right, 200)):
            headers = {"Authorization": signature} if signature else {}
            await run.call("POST", "/webhooks/livekit", expected, headers=headers, content=body)
    for body in (b'"a text of Huda"', b"{Huda"):
        headers = {"Authorization": livekit_webhooks.sign(body, livekit.api_key, livekit.api_secret)}
        await run.call("POST", "/webhooks/livekit", 400, headers=headers, content=body)
    run.traffic.add("Huda")


async def hold_conversation(run: Run, made: dict[str, Any], join_response: dict[str, Any], join: Join) -> None:
    agent = await join(Agent(run.stack.livekit, made["roomName"]))
    await join(Candidate(join_response["serverUrl"], join_response["participantToken"]))
    path = f"/interviews/{made['interviewId']}"

    async def has_status(expected: str) -> bool:
        return bool((await run.call("GET", path, 200))["status"] == expected)

    await eventually(lambda: has_status("IN_PROGRESS"))
    summary = "Layla told it all"
    run.traffic.add(summary, "outcome of Layla")
    await agent.room.local_participant.set_attributes({"interview.outcome": "outcome of Layla"})
    spoken = {"id": "line-of-layla", "speaker": "candidate", "text": "I am Layla of Hail", "at": "2026-11-22T09:00:00Z"}
    said = {"roomName": made["roomName"], "agent": "agent of Layla", "lines": [spoken]}
    await run.call("POST", f"{path}/transcript", 200, json=said)
    await run.call("POST", f"{path}/transcript", 422, json=said | {"lines": [spoken | {"mood": "homesick for Hail"}]})
    await run.call("GET", f"{path}/transcript", 200)
    checkpoint = {"roomName": made["roomName"], "agent": "agent of Layla", "sequence": 1, "state": ["asked of Sakaka"]}
    await run.call("PUT", f"{path}/checkpoint", 204, json=checkpoint)
    await run.call("PUT", f"{path}/checkpoint", 409, json=checkpoint | {"state": ["told of Sakaka"]})
    report = {
        "roomName": made["roomName"],
        "outcome": "failed",
        "summary": summary,
        "result": {"moved": ["to Dhahran"]},
    }
    await run.call("POST", f"{path}/complete", 422, json=report | {"remark": "She is from Abha"})
    await run.call("POST", f"{path}/complete", 200, json=report)
    await agent.leave()
    await eventually(lambda: has_status("FAILED"))


async def break_database(run: Run, made: dict[str, Any], database_url: str) -> None:
    """Make the database refuse a row and quote it, then stop responding."""
    path = f"/interviews/{made['interviewId']}"
    database = await asyncpg.connect(database_url)
    try:
        await database.execute(f"ALTER TABLE interviews ADD CHECK (participant_name <> '{REFUSED}') NOT VALID")
        await run.call("POST", "/interviews", 500, json=PERSON | {"participantName": REFUSED})
        await database.execute("ALTER TABLE transcript_lines ADD CHECK (text <> 'Refused words') NOT VALID")
        refused = {"id": "x", "speaker": "agent", "text": "Refused words", "at": "2026-11-22T09:00:00Z"}
        said = {"roomName": made["roomName"], "agent": "agent of Layla", "lines": [refused]}
        await run.call("POST", f"{path}/transcript", 500, json=said)
        await database.execute("ALTER TABLE timeline ADD CHECK (name <> 'invite_revoked') NOT VALID")
        await run.call("DELETE", f"{path}/invite", 500)
        async with database.transaction():
            await database.execute("SELECT 1 FROM interviews FOR UPDATE")
            await run.call("DELETE", f"{path}/personal-data", 503)
        await database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                               "AND datname = current_database()")  # fmt: skip
    finally:
        await database.close()


async def run_commands(run: Run, made: dict[str, Any]) -> None:
    key = re.search(r"ik_[0-9a-f]+_[0-9a-f]+", run.command("keys", "create", "of-layla", "--scope", "interviews:read"))
    assert key
    run.traffic.add(key[0])
    await run.call("GET", "/interviews", 200, headers={"Authorization": f"Bearer {key[0]}"})
    run.command("keys", "revoke", "of-layla")
    await run.call("GET", "/interviews", 401, headers={"Authorization": f"Bearer {key[0]}"})
    assert PERSON["participantName"] in run.command("show", made["interviewId"])
    run.command("list", "Layla")
    run.command("keys", "list", is_log=True)
    run.command("doctor", is_log=True)
    run.command_output += audit(run.stack.service).output


async def fail_webhooks(run: Run, receiver: Receiver) -> None:
    """Make the webhook endpoint fail with personal data in its response."""
    endpoint = await run.call("POST", "/webhook-endpoints", 201, json={"url": f"{receiver.url}/of-the-log"})
    path = f"/webhook-endpoints/{endpoint['endpointId']}"
    receiver.answer = status(500, Remark="Layla was here")
    run.traffic.add("Layla was here", endpoint["secret"].removeprefix("whsec_"))
    await run.call("POST", f"{path}/test", 202)
    await run.call("POST", f"{path}/rotate-secret", 200)
    await eventually(lambda: len(receiver.received) > 0)
    receiver.answer = status(410)


async def test_the_log_contains_no_personal_data(own_stack: OwnStack, join: Join) -> None:
    with own_stack() as stack:
        verbose_settings(stack.service, JOIN_POLICY="phone", PERSONAL_DATA_RETENTION_DAYS="1")
        async with call_service(stack) as run, receiving() as receiver:
            await fail_webhooks(run, receiver)
            made = await schedule_and_edit(run)
            join_response = await try_all_joins(run, made)
            await send_webhooks(run, made)
            await hold_conversation(run, made, join_response, join)
            await break_database(run, made, stack.service.env["DATABASE_URL"])
            await run_commands(run, made)
            path = f"/interviews/{made['interviewId']}"
            await run.call("DELETE", f"{path}/personal-data", 204)
            await run.call("POST", f"{path}/join", 410, json={"phoneNumber": SPELLINGS[0]})
            run.traffic.add(stack.livekit.api_secret, "observer-Huda")
        log = stack.service.log.read_text()
        seen = log + run.command_output
        # the log covers all parts, also errors, and the run has sent the values
        for word in (made["interviewId"], "unexpected error", "CheckViolation", "database_unavailable", " 410 "):
            assert word in log, word
        assert {*SPELLINGS, WRONG, PERSON["participantName"], join_response["participantToken"]} <= run.traffic.needles
        assert run.traffic.found_in(seen) == set()
        assert [numbers_in(seen, number) for number in (PERSON["phoneNumber"], WRONG)] == [[], []]
        assert PATTERNS.findall(seen) == []

"""Webhooks that LiveKit did not send, over a real socket: refused, without any change to the interview.

What a signature must hold is tried claim by claim in test_livekit_webhooks.py; here is what an attacker would send.
"""

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from tests import livekit_webhooks
from tests.conftest import AUTHORIZED, LIVEKIT_KEY, LIVEKIT_SECRET
from tests.interview_driver import RealTime
from tests.livekit.test_webhooks import claims, forge
from tests.sockets import connect_to, serving

MEGABYTE = 1024 * 1024
PUBLIC_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
)
Make = Callable[[bytes, dict[str, Any]], list[str]]


@pytest.fixture
async def service(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Call the app through the real server, as its parsing of odd headers matters too."""
    async with serving(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client


async def everything(sessions: async_sessionmaker[AsyncSession]) -> str:
    """Return all rows of an interview."""
    tables = ("interviews", "timeline", "connections", "rooms", "changes", "reports")
    query = " UNION ALL ".join(f"SELECT row_to_json({name})::text FROM {name}" for name in tables)  # noqa: S608 - ours
    async with sessions() as session:
        return "\n".join(sorted((await session.scalars(text(query))).all()))


def ends_it(interview: dict[str, Any]) -> bytes:
    """Return an event that would end the room of a running interview."""
    return livekit_webhooks.encode(
        livekit_webhooks.event("room_finished", room=interview["roomName"], at=datetime.now(UTC))
    )


def of(body: bytes) -> dict[str, object]:
    return claims(sha256=base64.b64encode(hashlib.sha256(body).digest()).decode())


ANOTHER_SECRET = "of-somebody-else-of-32-characters-"  # noqa: S105 - an attacker's

FORGED: dict[str, Make] = {
    "unsigned": lambda body, _: [],
    "alg_none": lambda body, _: [jwt.encode(of(body), None, algorithm="none")],
    "alg_none_in_capitals": lambda body, _: [forge({"alg": "NONE"}, of(body)).rpartition(".")[0] + "."],
    "another_key": lambda body, _: [livekit_webhooks.sign(body, secret=ANOTHER_SECRET)],
    "an_unknown_key": lambda body, _: [livekit_webhooks.sign(body, key="theirs", secret=ANOTHER_SECRET)],
    "the_key_as_secret": lambda body, _: [forge({"alg": "HS256"}, of(body), LIVEKIT_KEY)],
    "an_empty_secret": lambda body, _: [forge({"alg": "HS256"}, of(body), "")],
    "rs256_confusion": lambda body, _: [forge({"alg": "RS256"}, of(body), PUBLIC_KEY)],
    "hs256_by_a_public_key": lambda body, _: [forge({"alg": "HS256"}, of(body), PUBLIC_KEY)],
    "a_key_of_its_own_in_the_header": lambda body, _: [
        forge({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "kid": "/dev/null"}, of(body), "")
    ],
    "a_participants_own_token": lambda _, joined: [joined["participantToken"]],
    "a_participants_own_token_as_bearer": lambda _, joined: [f"Bearer {joined['participantToken']}"],
    "of_another_body": lambda body, _: [livekit_webhooks.sign(body + b" ")],
    "replayed_after_ten_minutes": lambda body, _: [livekit_webhooks.sign(body, minutes=-5)],  # LiveKit's live for five
    "forged_before_right": lambda body, _: [livekit_webhooks.sign(body + b" "), livekit_webhooks.sign(body)],
    "participants_before_right": lambda body, joined: [joined["participantToken"], livekit_webhooks.sign(body)],
    "both_in_one": lambda body, _: [f"{livekit_webhooks.sign(body)}, {livekit_webhooks.sign(body)}"],
    "right_twice": lambda body, _: [livekit_webhooks.sign(body)] * 2,
    "right_before_forged": lambda body, _: [livekit_webhooks.sign(body), "forged"],
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_webhook_moves_nothing(
    app: FastAPI, service: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], name: str
) -> None:
    driver = RealTime(app, service)
    interview = await driver.new()
    joined = (await driver.join(interview)).json()
    await driver.talk(interview)
    before = await everything(sessions)
    body = ends_it(interview)
    headers = [("Content-Type", "application/webhook+json")]
    headers += [("Authorization", value) for value in FORGED[name](body, joined)]
    answer = await service.post("/webhooks/livekit", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_not_signed")
    assert await everything(sessions) == before
    assert (await driver.get(interview))["status"] == "IN_PROGRESS"


async def test_the_same_event_rightly_signed_is_taken(app: FastAPI, service: httpx.AsyncClient) -> None:
    """The forged webhooks are refused for their signature and nothing else."""
    driver = RealTime(app, service)
    interview = await driver.new()
    await driver.talk(interview)
    body = ends_it(interview)
    answer = await service.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
    assert (answer.status_code, answer.json()) == (200, {"result": "recorded"})
    assert (await driver.get(interview))["status"] != "IN_PROGRESS"


async def test_a_replay_within_its_life_is_a_duplicate(
    app: FastAPI, service: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    driver = RealTime(app, service)
    interview = await driver.new()
    body = ends_it(interview)
    headers = livekit_webhooks.headers(body)
    assert (await service.post("/webhooks/livekit", content=body, headers=headers)).json() == {"result": "recorded"}
    before = await everything(sessions)
    assert (await service.post("/webhooks/livekit", content=body, headers=headers)).json() == {"result": "duplicate"}
    assert await everything(sessions) == before


async def test_a_hundred_megabytes_are_cut_off_before_anything_is_verified(
    app: FastAPI, sessions: async_sessionmaker[AsyncSession]
) -> None:
    async with serving(app) as port, connect_to(port) as attacker:
        before = await everything(sessions)
        await attacker.send(b"POST /webhooks/livekit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 100 and not (attacker.reader.at_eof() or attacker.writer.is_closing()):
            await attacker.send(b"%x\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE))
            sent += 1
            if attacker.reader.exception():
                break
        assert sent < 20  # two are read, one is dropped, the rest is what fits into the buffers on the way
        assert await everything(sessions) == before


ODD: dict[str, tuple[bytes, int]] = {
    "deep_array": (b'{"event":"room_finished","room":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep_object": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    "lone_surrogate": (b'{"event":"room_finished","room":{"name":"\\ud800"}}', 400),
    "lone_surrogate_as_utf8": (b'{"event":"\xed\xa0\x80"}', 400),
    "utf16": ('{"event":"room_finished"}'.encode("utf-16"), 400),
    "two_objects": (b'{"event":"a"}{"event":"b"}', 400),
    "not_a_number": (b'{"event":NaN}', 400),
    "a_number_of_any_size": (b'{"createdAt":' + b"9" * 100_000 + b"}", 400),
    "duplicate_keys": (b'{"event":"x","event":"y","room":{"name":"a","name":"b"}}', 200),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_body_even_rightly_signed_does_no_harm(
    app: FastAPI, service: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], name: str
) -> None:
    driver = RealTime(app, service)
    await driver.new()
    before = await everything(sessions)
    body, status = ODD[name]
    answer = await service.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
    assert answer.status_code == status, answer.text
    assert answer.json().get("code", "webhook_invalid") == "webhook_invalid"
    assert await everything(sessions) == before


async def test_of_duplicate_keys_one_is_read_all_along(app: FastAPI, service: httpx.AsyncClient) -> None:
    """The last value counts, as in LiveKit's own receiver: what is verified is what is stored."""
    driver = RealTime(app, service)
    one, other = await driver.new(), await driver.new()
    body = ends_it(one).replace(b'"name": "', f'"name": "{other["roomName"]}", "name": "'.encode())
    assert json.loads(body)["room"]["name"] == one["roomName"]
    answer = await service.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
    assert answer.json() == {"result": "recorded"}
    assert len(await _entries(driver, other)) < len(await _entries(driver, one))


async def _entries(driver: RealTime, interview: dict[str, Any]) -> list[dict[str, Any]]:
    path = f"/interviews/{interview['interviewId']}/timeline"
    entries: list[dict[str, Any]] = (await driver.client.get(path, headers=AUTHORIZED)).json()["data"]
    return entries


FULL_BODY: dict[str, Any] = {
    # as livekit-server 1.13.4 sends it, every key that it has; the values that are nobody's business say hush
    "event": "participant_left",
    "id": "EV_full",
    "room": {
        "sid": "RM_full", "emptyTimeout": 300, "departureTimeout": 125, "maxParticipants": 9,
        "creationTime": "1782000000", "creationTimeMs": "1782000000000", "turnPassword": "hush-turn",
        "enabledCodecs": [{"mime": "audio/opus"}, {"mime": "video/VP8", "fmtpLine": "hush-codec"}],
        "metadata": "hush-room", "numParticipants": 2, "numPublishers": 1, "activeRecording": False,
        "version": {"unixMicro": "1782000000000000", "ticks": 1},
    },
    "participant": {
        "sid": "PA_full", "identity": "candidate-c", "state": "DISCONNECTED", "name": "hush-name",
        "tracks": [{"sid": "TR_1", "name": "hush-track", "source": "MICROPHONE", "stream": "hush-stream"}],
        "metadata": '{"phoneNumber": "hush-phone"}', "joinedAt": "1782000000", "joinedAtMs": "1782000000000",
        "permission": {"canSubscribe": True, "canPublish": True, "canPublishSources": ["MICROPHONE"]},
        "region": "hush-region", "isPublisher": True, "kind": "STANDARD", "version": 4, "kindDetails": ["FORWARDED"],
        "attributes": {"hush-key": "hush-value", "interview.outcome": "completed"},
        "disconnectReason": "CLIENT_INITIATED", "clientProtocol": 16,
    },
    "track": {"sid": "TR_1", "name": "hush-track", "mimeType": "audio/opus", "mid": "hush-mid"},
    "egressInfo": {"roomName": "hush-egress"},
    "ingressInfo": {"streamKey": "hush-ingress", "url": "hush-url"},
    "numDropped": 1,
}  # fmt: skip


async def test_of_a_full_body_only_ids_instants_and_reasons_are_kept(
    app: FastAPI, service: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    driver = RealTime(app, service)
    interview = await driver.new()
    full = FULL_BODY | {"createdAt": str(int(time.time()))}
    full["room"] = FULL_BODY["room"] | {"name": interview["roomName"]}
    body = livekit_webhooks.encode(full)
    answer = await service.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
    assert answer.json() == {"result": "recorded"}
    kept = await everything(sessions)
    assert "hush" not in kept
    rows = [json.loads(row) for row in kept.splitlines()]
    (detail,) = [row["detail"] for row in rows if row.get("livekit_event_id") == "EV_full"]
    assert set(detail) == {"createdAt", "roomSid", "identity", "sid", "role", "kind", "reason", "outcome"}
    assert LIVEKIT_SECRET not in kept

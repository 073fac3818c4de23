"""POST /webhooks/livekit over HTTP: what is refused, what is ignored, what is never stored."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from tests import livekit_webhooks
from tests.conftest import AUTHORIZED, LIVEKIT_SECRET
from tests.stored import places_of

NEW = {
    "candidateId": "c",
    "applicationId": "a",
    "jobPostId": "j",
    "jobTitle": "Developer",
    "phoneNumber": "0500000001",
}
BODY = b'{"event":"room_started","id":"EV_1","room":{"name":"r","sid":"RM_1"}}'
MEGABYTE = 1024 * 1024
TYPE = {"Content-Type": "application/webhook+json"}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


async def schedule(client: httpx.AsyncClient) -> dict[str, Any]:
    made: dict[str, Any] = (await client.post("/interviews", headers=AUTHORIZED, json=NEW)).json()
    return made


async def send(client: httpx.AsyncClient, event: dict[str, Any]) -> str:
    """Send a signed event; return the result."""
    body = livekit_webhooks.encode(event)
    answer = await client.post("/webhooks/livekit", content=body, headers=livekit_webhooks.headers(body))
    assert answer.status_code == 200, answer.text
    result: str = answer.json()["result"]
    return result


async def kept(sessions: async_sessionmaker[AsyncSession]) -> str:
    """Return every row that a webhook could have left, as JSON."""
    query = """
        SELECT row_to_json(t)::text FROM timeline t WHERE kind <> 'call'
        UNION ALL SELECT row_to_json(r)::text FROM rooms r
        UNION ALL SELECT row_to_json(c)::text FROM connections c
    """
    async with sessions() as session:
        return "\n".join((await session.scalars(text(query))).all())


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == answer.status_code
    assert found["requestId"] == answer.headers["X-Request-Id"]
    return answer.status_code, found["code"]


def signed(body: bytes) -> Callable[[], tuple[bytes, dict[str, str]]]:
    return lambda: (body, {"Authorization": livekit_webhooks.sign(body)})


def authorized(token: Callable[[], str]) -> Callable[[], tuple[bytes, dict[str, str]]]:
    return lambda: (BODY, {"Authorization": token()})


REFUSED: dict[str, tuple[int, str, Callable[[], tuple[bytes, dict[str, str]]]]] = {
    "missing": (401, "webhook_not_signed", lambda: (BODY, {})),
    "bearer": (401, "webhook_not_signed", authorized(lambda: "Bearer " + livekit_webhooks.sign(BODY))),
    "expired": (401, "webhook_not_signed", authorized(lambda: livekit_webhooks.sign(BODY, minutes=-2))),
    "unknown_key": (401, "webhook_not_signed", authorized(lambda: livekit_webhooks.sign(BODY, key="unknown"))),
    "wrong_secret": (
        401,
        "webhook_not_signed",
        authorized(lambda: livekit_webhooks.sign(BODY, secret=LIVEKIT_SECRET + "x")),
    ),
    "wrong_checksum": (401, "webhook_not_signed", authorized(lambda: livekit_webhooks.sign(BODY + b"\n"))),
    "api_key": (401, "webhook_not_signed", lambda: (BODY, AUTHORIZED)),
    "no_jwt": (401, "webhook_not_signed", authorized(lambda: "ÿ..")),
    "not_signed_and_no_json": (401, "webhook_not_signed", lambda: (b"{", {})),
    "not_json": (400, "webhook_invalid", signed(b"no json")),
    "empty": (400, "webhook_invalid", signed(b"")),
    "array": (400, "webhook_invalid", signed(b"[]")),
    "not_utf8": (400, "webhook_invalid", signed(b'{"event":"\xff"}')),
    "deep": (400, "webhook_invalid", signed(b'{"room":' * 50_000 + b"1" + b"}" * 50_000)),
    "three_megabytes": (413, "body_too_large", signed(b'{"event":"' + b"x" * 3 * MEGABYTE + b'"}')),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], name: str) -> None:
    status, code, make = REFUSED[name]
    body, headers = make()
    raw = {key.encode(): value.encode("latin-1") for key, value in (headers | TYPE).items()}
    answer = await client.post("/webhooks/livekit", content=body, headers=raw)
    assert refusal(answer) == (status, code)
    assert await kept(sessions) == ""


async def test_a_body_of_unknown_length_is_read_no_further_than_allowed(client: httpx.AsyncClient) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(48):
            taken += MEGABYTE // 16
            yield b"x" * (MEGABYTE // 16)

    request = client.build_request("POST", "/webhooks/livekit", content=endless(), headers=TYPE)
    assert "Content-Length" not in request.headers
    assert refusal(await client.send(request)) == (413, "body_too_large")
    assert taken <= 2 * MEGABYTE + MEGABYTE // 16


async def test_an_event_with_all_the_metadata_that_livekit_allows_is_taken(client: httpx.AsyncClient) -> None:
    made = await schedule(client)
    now = datetime.now(UTC)
    who = livekit_webhooks.participant("PA_1", "candidate-c", joined_at=now) | {"metadata": '"' * 512 * 1024}
    event = livekit_webhooks.event("participant_joined", room=made["roomName"], at=now, participant=who)
    event["room"]["metadata"] = "x" * 512 * 1024
    assert await send(client, event) == "recorded"


OTHER_EVENTS = ("track_published", "track_unpublished", "egress_started", "never_heard_of", "")
OTHER_ROOMS = (
    "",
    "somebody-elses",
    "{id}",
    "interview-{id}-1",
    "interview-{id}-0",
    "interview-{id}-02",
    "interview-{id}-",
    "interview-{id}-x",
    "interview-{id}-2-2",
    "interview-{id}-1234567890",
    "interview-{id}\n",
    " interview-{id}",
    "interview-{ID}",
    "INTERVIEW-{id}",
    "interview-{hex}",
    "interview-" + UNKNOWN_ID,
    "interview-{id}-٢",
)


async def test_events_and_rooms_of_no_concern(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await schedule(client)
    key, now = made["interviewId"], datetime.now(UTC)
    rooms = [room.format(id=key, ID=key.upper(), hex=key.replace("-", "")) for room in OTHER_ROOMS]
    cases = [*((name, made["roomName"]) for name in OTHER_EVENTS), *(("participant_joined", room) for room in rooms)]
    for name, room in cases:
        who = livekit_webhooks.participant("PA_1", "candidate-c", joined_at=now)
        result = await send(client, livekit_webhooks.event(name, room=room, at=now, participant=who))
        assert (name, room, result) == (name, room, "ignored")
    assert await kept(sessions) == ""


async def test_an_event_without_a_room(client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]) -> None:
    assert await send(client, {}) == "ignored"
    assert await send(client, {"event": "room_started", "room": None}) == "ignored"
    assert await kept(sessions) == ""


async def test_a_repeated_event_is_a_duplicate(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await schedule(client)
    event = livekit_webhooks.event("room_started", room=made["roomName"], at=datetime.now(UTC), event_id="EV_same")
    assert [await send(client, event) for _ in range(3)] == ["recorded", "duplicate", "duplicate"]
    timeline = [json.loads(row) for row in (await kept(sessions)).splitlines() if "livekit_event_id" in row]
    assert [row["livekit_event_id"] for row in timeline] == ["EV_same"]


async def test_events_without_an_id_are_no_duplicates_and_change_nothing_twice(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    made = await schedule(client)
    now = datetime.now(UTC)
    who = livekit_webhooks.participant("PA_1", "candidate-c", joined_at=now)
    event = livekit_webhooks.event("participant_joined", room=made["roomName"], at=now, participant=who)
    del event["id"]
    assert [await send(client, event) for _ in range(2)] == ["recorded", "recorded"]
    rows = [json.loads(row) for row in (await kept(sessions)).splitlines()]
    assert len([row for row in rows if row.get("sid") == "PA_1"]) == 1
    assert [row["name"] for row in rows if row.get("kind") == "status"] == ["candidate_alone"]


async def test_secrets_and_personal_data_are_neither_stored_nor_logged(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = await schedule(client)
    now = datetime.now(UTC)
    secrets = {"not-to-be-stored", "966509876543", "phoneNumber", "Layla-the-name"}
    tokens = set()
    names = [
        "room_started",
        "participant_joined",
        "participant_connection_aborted",
        "participant_left",
        "room_finished",
    ]
    for name in [*names, "track_published", "never_heard_of"]:
        for room in (made["roomName"], f"interview-{UNKNOWN_ID}", "other"):
            who = livekit_webhooks.participant(
                "PA_1", "candidate-c", joined_at=now, kind="SIP", attributes={"sip.from": "966509876543"}
            )
            event = livekit_webhooks.event(name, room=room, at=now, participant=who | {"name": "Layla-the-name"})
            body = livekit_webhooks.encode(event)
            assert all(secret.encode() in body for secret in secrets)
            headers = livekit_webhooks.headers(body)
            tokens.add(headers["Authorization"])
            await client.post("/webhooks/livekit", content=body, headers=headers)
            await client.post("/webhooks/livekit", content=body, headers=TYPE)  # refused
    assert "PA_1" in await kept(sessions)
    assert "POST /webhooks/livekit 200" in caplog.text
    seen = await kept(sessions) + caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert [secret for secret in secrets | tokens if secret in seen] == []


async def test_no_table_holds_what_a_webhook_says_of_a_person(
    client: httpx.AsyncClient, sessions: async_sessionmaker[AsyncSession]
) -> None:
    """Personal data is in the interview's row only: every column of every table is searched."""
    person = {"participantName": "Layla-the-name", "phoneNumber": "+966 51 234 5678"}
    made = (await client.post("/interviews", headers=AUTHORIZED, json=NEW | person)).json()
    now = datetime.now(UTC)
    where_from = {"region": "me-central", "clientInfo": {"address": "198.51.100.23", "browser": "Netscape"}}
    about = where_from | {"name": "Layla-the-name", "metadata": '{"phoneNumber": "966512345678", "cv": "Buraydah"}'}
    for name in ("room_started", "participant_joined", "participant_connection_aborted", "participant_left",
                 "room_finished", "track_published", "never_heard_of"):  # fmt: skip
        for number, kind in enumerate(("STANDARD", "AGENT", "SIP")):
            who = livekit_webhooks.participant(
                f"PA_{number}",
                f"one-{number}",
                joined_at=now,
                kind=kind,
                attributes={"sip.phoneNumber": "966512345678"},
            )
            event = livekit_webhooks.event(name, room=made["roomName"], at=now, participant=who | about)
            event["room"] |= {"metadata": "of the room: Najran"}
            event["egressInfo"] = {"roomName": "Tabuk"}
            assert await send(client, event) in ("recorded", "ignored")
    never = ("not-to-be-stored", "turnPassword", "966512345678", "512345678", "Buraydah", "Najran", "Tabuk",
             "198.51.100.23", "Netscape", "me-central", "sip.phone")  # fmt: skip
    own = ("Layla-the-name", "+966 51 234 5678")
    places = await places_of(sessions, (*never, *own, "PA_2"))
    assert places["PA_2"] >= {"connections.sid", "timeline.detail"}
    assert {needle: places[needle] for needle in own} == {
        "Layla-the-name": {"interviews.participant_name", "interviews.search_text"},
        "+966 51 234 5678": {"interviews.phone_number"},
    }
    found = {needle: places[needle] - {"interviews.search_text"} for needle in never}
    assert found == {needle: set() for needle in never}

"""A client of the LiveKit server's API."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Self

import aiohttp
from google.protobuf.message import DecodeError
from livekit import api

from app.livekit.webhooks import Participant

# Seconds; all calls about an interview fit into its lease. Enforced here, because livekit-api 1.2.2 passes a timeout of
# None with every request, which disables the one of its session.
TIMEOUT = 5.0
ROOM_MISSING = "room does not exist"  # in LiveKit's 404; a proxy has other words
AWAY = 1.0  # seconds for which a refused connection counts


class LiveKitUnavailable(Exception):
    """LiveKit did not answer, or failed. Retry later."""


class LiveKitUnreachable(LiveKitUnavailable):
    """No connection to LiveKit's address."""


class LiveKitKeysRefused(LiveKitUnavailable):
    """LiveKit refused our key pair, or our clock is so far off that the token looks expired."""


@dataclass(frozen=True, slots=True)
class LiveRoom:
    """An existing room. `participants` excludes agents, and lags by some 5 s (seen on 1.13.4)."""

    name: str
    sid: str
    created_at: datetime
    participants: int


@dataclass(frozen=True, slots=True)
class RoomSnapshot:
    """A room as of `asked_at`; `room` is None if it did not exist.

    `participants` are connected; `arriving` are still connecting.
    """

    asked_at: datetime
    room: LiveRoom | None
    participants: Sequence[Participant] = ()
    arriving: Sequence[Participant] = ()


class LiveKitServer:
    """One client per process. Create it in a running event loop, and close it by `async with`."""

    def __init__(self, url: str, api_key: str, api_secret: str) -> None:
        # failover is for LiveKit Cloud's regions; elsewhere it only repeats the worker's own retries
        self._api = api.LiveKitAPI(url, api_key, api_secret, failover=False)
        self._away_until = 0.0

    @property
    def is_away(self) -> bool:
        """Whether LiveKit was unreachable a moment ago."""
        return time.monotonic() < self._away_until

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.aclose()

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[None]:
        try:
            async with _translated_errors():
                yield
        except LiveKitUnreachable:
            self._away_until = time.monotonic() + AWAY
            raise

    async def rooms(self, names: Sequence[str] = ()) -> list[LiveRoom]:
        """Return the existing rooms of these names; without names, all rooms."""
        async with self._calling():
            answer = await self._api.room.list_rooms(api.ListRoomsRequest(names=names))
        return [_room(room) for room in answer.rooms]

    async def room_snapshot(self, name: str) -> RoomSnapshot:
        """Return a snapshot of the room of that name, as of the instant before the call."""
        asked_at = datetime.now(UTC)
        rooms = await self.rooms([name])
        return await self.room_snapshot_of(rooms[0]) if rooms else RoomSnapshot(asked_at, None)

    async def room_snapshot_of(self, room: LiveRoom) -> RoomSnapshot:
        """Return a snapshot of a room that existed a moment ago."""
        asked_at = datetime.now(UTC)
        async with self._calling():
            answer = await self._api.room.list_participants(api.ListParticipantsRequest(room=room.name))
        states = api.ParticipantInfo
        active = [_participant(each) for each in answer.participants if each.state == states.ACTIVE]
        arriving = [_participant(each) for each in answer.participants if each.state in (states.JOINING, states.JOINED)]
        return RoomSnapshot(asked_at, room, active, arriving)

    async def create_room(self, room: str, *, empty_timeout: timedelta) -> None:
        """Create a room that LiveKit closes if it stays empty for so long."""
        request = api.CreateRoomRequest(name=room, empty_timeout=int(empty_timeout.total_seconds()))
        async with self._calling():
            await self._api.room.create_room(request)

    async def delete_room(self, room: str) -> bool:
        """Delete a room and disconnect its participants. Return whether it existed."""
        try:
            async with self._calling():
                await self._api.room.delete_room(api.DeleteRoomRequest(room=room))
        except _NotFound:
            return False
        return True

    async def dispatch_agent(self, room: str, *, agent_name: str, mark: str) -> None:
        """Dispatch an agent, unless a dispatch has this mark already: each dispatch adds an agent."""
        async with self._calling():
            known = await self._api.agent_dispatch.list_dispatch(room)
            if any(dispatch.metadata == mark for dispatch in known):
                return
            await self._api.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(room=room, agent_name=agent_name, metadata=mark)
            )

    async def send_data(self, room: str, *, topic: str, payload: dict[str, object]) -> bool:
        """Send JSON to all participants; the packet has no sender. Return whether the room exists.

        That is checked first: for a missing room LiveKit answers "unavailable", as it does when it is broken.
        """
        if not await self.rooms([room]):
            return False
        request = api.SendDataRequest(
            room=room, data=json.dumps(payload).encode(), kind=api.DataPacket.Kind.RELIABLE, topic=topic
        )
        async with self._calling():
            await self._api.room.send_data(request)
        return True


async def clock_of(url: str) -> datetime | None:
    """Return the time of LiveKit's clock, in whole seconds; None if the response has no date.

    Raises LiveKitUnavailable. Behind a proxy the clock is the proxy's.
    """
    async with _translated_errors(), aiohttp.ClientSession() as http, http.get(_http(url)) as answer:
        date = answer.headers.get("Date")
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None


async def may_join(url: str, token: str) -> bool:
    """Return whether LiveKit lets a client with this token in; False if it would have to create the room, and may not.

    Creates nothing. Raises LiveKitUnavailable.
    """
    address, headers = f"{_http(url).rstrip('/')}/rtc/validate", {"Authorization": f"Bearer {token}"}
    async with _translated_errors(), aiohttp.ClientSession() as http, http.get(address, headers=headers) as answer:
        if answer.status == HTTPStatus.OK:
            return True
        if answer.status == HTTPStatus.NOT_FOUND and ROOM_MISSING in await answer.text(errors="replace"):
            return False
        # without the body: LiveKit's 401 repeats the token
        raise LiveKitUnavailable(f"LiveKit answered {answer.status} to /rtc/validate")


def _http(url: str) -> str:
    return f"http{url[2:]}" if url.startswith("ws") else url


class _NotFound(LiveKitUnavailable):
    """The room does not exist."""


@asynccontextmanager
async def _translated_errors() -> AsyncIterator[None]:
    """Raise LiveKitUnavailable for every error of a call."""
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    except api.TwirpError as error:
        if error.code == "not_found":
            raise _NotFound from error
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise LiveKitKeysRefused("LiveKit answered 401") from error
        raise LiveKitUnavailable(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        number = error.errno or 0  # negative if the name has no address
        why = os.strerror(number) if number > 0 else error.strerror  # aiohttp's own text adds "ssl:default"
        raise LiveKitUnreachable(f"no connection to {error.host}:{error.port}: {why}") from error
    except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as error:
        raise LiveKitUnavailable(f"{type(error).__name__}: {error}") from error


def _room(room: api.Room) -> LiveRoom:
    created_at = datetime.fromtimestamp(room.creation_time_ms / 1000 or room.creation_time, UTC)
    return LiveRoom(room.name, room.sid, created_at, room.num_participants)


def _participant(info: api.ParticipantInfo) -> Participant:
    kinds = api.ParticipantInfo.Kind
    joined = info.joined_at_ms / 1000 or info.joined_at
    return Participant(
        sid=info.sid,
        identity=info.identity,
        kind=kinds.Name(info.kind) if info.kind in kinds.values() else str(info.kind),
        hidden=info.permission.hidden,
        joined_at=datetime.fromtimestamp(joined, UTC) if joined else None,
        attributes=dict(info.attributes),
        disconnect_reason="",
    )

"""Asks and commands a LiveKit server by its API."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
from google.protobuf.message import DecodeError
from livekit import api

from app.livekit.webhooks import Participant

# Seconds; all of an interview's calls stay under its lease. Kept by ourselves: livekit-api 1.2.2 hands aiohttp a
# timeout of None with every request, which switches off the one that its session was made with.
TIMEOUT = 5.0
AWAY = 1.0  # seconds that an address counts as one where nobody listens, once that was so
NOT_FOUND = "not_found"


class LiveKitUnavailable(Exception):
    """LiveKit did not answer, or refused: ask again later."""


class LiveKitUnreachable(LiveKitUnavailable):
    """Nobody listens at LiveKit's address, whatever is asked."""


class LiveKitKeysRefused(LiveKitUnavailable):
    """LiveKit takes our key pair for wrong; or our clock is so far off that the token looks expired."""


@dataclass(frozen=True, slots=True)
class LiveRoom:
    """A room that is there. `participants` leaves agents out, and is some 5 s behind (seen on 1.13.4)."""

    name: str
    sid: str
    created_at: datetime
    participants: int


@dataclass(frozen=True, slots=True)
class RoomSnapshot:
    """What a room looked like when asked at `asked_at`: room None, it was not there.

    `participants` are those whose media is up; `arriving` are those who are not that far yet.
    """

    asked_at: datetime
    room: LiveRoom | None
    participants: Sequence[Participant] = ()
    arriving: Sequence[Participant] = ()


class LiveKitServer:
    """One client a process, made in a running event loop and closed by `async with`."""

    def __init__(self, url: str, api_key: str, api_secret: str) -> None:
        # failover is for LiveKit Cloud's regions; elsewhere it only repeats what the worker repeats anyway
        self._api = api.LiveKitAPI(url, api_key, api_secret, failover=False)
        self._away_until = 0.0

    @property
    def is_away(self) -> bool:
        """Whether nobody listened a moment ago: who has many questions may spare them."""
        return time.monotonic() < self._away_until

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.aclose()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with _answering():
                yield
        except LiveKitUnreachable:
            self._away_until = time.monotonic() + AWAY
            raise

    async def rooms(self, names: Sequence[str] = ()) -> list[LiveRoom]:
        """Return the rooms of these names that are there; all rooms without names."""
        async with self._asking():
            answer = await self._api.room.list_rooms(api.ListRoomsRequest(names=names))
        return [_room(room) for room in answer.rooms]

    async def room_snapshot(self, name: str) -> RoomSnapshot:
        """Return who is in the room of that name. What is told of it counts as of the instant before asking."""
        asked_at = datetime.now(UTC)
        found = await self.rooms([name])
        return await self.room_snapshot_of(found[0]) if found else RoomSnapshot(asked_at, None)

    async def room_snapshot_of(self, room: LiveRoom) -> RoomSnapshot:
        """Return who is in a room that was there a moment ago."""
        asked_at = datetime.now(UTC)
        async with self._asking():
            answer = await self._api.room.list_participants(api.ListParticipantsRequest(room=room.name))
        there = [one for one in answer.participants if one.state == api.ParticipantInfo.ACTIVE]
        early = (api.ParticipantInfo.JOINING, api.ParticipantInfo.JOINED)
        arriving = [one for one in answer.participants if one.state in early]
        return RoomSnapshot(asked_at, room, [*map(_participant, there)], [*map(_participant, arriving)])

    async def create_room(self, room: str, *, empty_timeout: timedelta) -> None:
        """Make a room that LiveKit closes by itself if nobody joins in time."""
        request = api.CreateRoomRequest(name=room, empty_timeout=int(empty_timeout.total_seconds()))
        async with self._asking():
            await self._api.room.create_room(request)

    async def delete_room(self, room: str) -> bool:
        """Delete a room and put everybody out; tell whether it was there."""
        try:
            async with self._asking():
                await self._api.room.delete_room(api.DeleteRoomRequest(room=room))
        except _NotFound:
            return False
        return True

    async def dispatch_agent(self, room: str, *, agent_name: str, mark: str) -> None:
        """Dispatch an agent, unless one was dispatched with this mark already: each dispatch adds an agent."""
        async with self._asking():
            known = await self._api.agent_dispatch.list_dispatch(room)
            if any(dispatch.metadata == mark for dispatch in known):
                return
            await self._api.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(room=room, agent_name=agent_name, metadata=mark)
            )

    async def send_data(self, room: str, *, topic: str, payload: dict[str, object]) -> bool:
        """Send JSON to everybody in the room; tell whether there is one. What the server sends has no sender.

        To a room that is not there LiveKit answers "unavailable", as it does when it is broken: so that is asked first.
        """
        if not await self.rooms([room]):
            return False
        request = api.SendDataRequest(
            room=room, data=json.dumps(payload).encode(), kind=api.DataPacket.Kind.RELIABLE, topic=topic
        )
        async with self._asking():
            await self._api.room.send_data(request)
        return True


async def clock_of(url: str) -> datetime | None:
    """Return what the server at LiveKit's address takes for now, in whole seconds; None if it does not say.

    Raises LiveKitUnavailable. Behind a proxy the clock is the proxy's.
    """
    async with _answering(), aiohttp.ClientSession() as http, http.get(_http(url)) as answer:
        date = answer.headers.get("Date")
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None


def _http(url: str) -> str:
    return f"http{url[2:]}" if url.startswith("ws") else url


class _NotFound(LiveKitUnavailable):
    """LiveKit has no such room."""


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Turn all that can keep LiveKit from answering into LiveKitUnavailable."""
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    except api.TwirpError as error:
        if error.code == NOT_FOUND:
            raise _NotFound from error
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise LiveKitKeysRefused("LiveKit answered 401") from error
        raise LiveKitUnavailable(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise LiveKitUnreachable(f"{type(error).__name__}: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError, DecodeError) as error:
        raise LiveKitUnavailable(f"{type(error).__name__}: {error}") from error


def _room(room: api.Room) -> LiveRoom:
    created_at = datetime.fromtimestamp(room.creation_time_ms / 1000 or room.creation_time, UTC)
    return LiveRoom(room.name, room.sid, created_at, room.num_participants)


def _participant(found: api.ParticipantInfo) -> Participant:
    kinds = api.ParticipantInfo.Kind
    joined = found.joined_at_ms / 1000 or found.joined_at
    return Participant(
        sid=found.sid,
        identity=found.identity,
        kind=kinds.Name(found.kind) if found.kind in kinds.values() else str(found.kind),
        hidden=found.permission.hidden,
        joined_at=datetime.fromtimestamp(joined, UTC) if joined else None,
        attributes=dict(found.attributes),
        disconnect_reason="",
    )

"""Plays one history against a deployment, in real time: as the candidate, the agent, the recruiter, and LiveKit."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random

from simulator.delivery import fate
from simulator.deployment import Deployment, Refused, Seat, instant, moment
from simulator.events import Event, Json, Place
from simulator.history import SECOND, Expected, History, Role
from simulator.livekit_state import World
from simulator.options import Options
from simulator.report import Outcome

TRIES = (0, 1, 3, 7, 15)  # seconds after the first at which LiveKit tries to deliver a webhook
DROPPED_AFTER = 30_000  # milliseconds in its queue, after which LiveKit silently drops one
LEAD = 1_000  # milliseconds before its beginning at which an interview is scheduled


def wall() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def sleep_until(at: int) -> None:
    await asyncio.sleep(max(0, at - wall()) / SECOND)


class Player:
    """One interview. `origin` is when its history begins, in milliseconds since 1970."""

    def __init__(
        self, deployment: Deployment, world: World, history: History, origin: int, rng: Random, webhooks: Counter[str]
    ) -> None:
        self.deployment = deployment
        self.world = world
        self.history = history
        self.origin = origin
        self.rng = rng
        self.webhooks = webhooks
        self.options: Options = deployment.options
        self.interview_id = ""
        self.seat: Seat | None = None
        self.seated = asyncio.Event()
        self.changed = asyncio.Event()
        self.told: set[str] = set()
        self.lost: list[Event] = []
        self.queue: asyncio.Queue[tuple[Event, tuple[int, ...]] | None] = asyncio.Queue()

    async def play(self) -> Outcome:
        """Play the history to its end; whatever goes wrong belongs to the outcome."""
        try:
            await self._play()
            return self._outcome(await self._asked())
        except* (Refused, TimeoutError) as errors:
            error = errors
        return self._outcome(None, str(error.exceptions[0]))

    async def _play(self) -> None:
        await sleep_until(self.origin - LEAD)
        closes = self.history.closes
        closes_at = None if closes is None else moment(self.origin + closes)
        self.interview_id = await self.deployment.schedule(self.history, closes_at)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._make_statements())
            if self.history.connections:
                group.create_task(self._tell(group))
                group.create_task(self._work_queue(group))

    # Candidate, agent, recruiter

    async def _make_statements(self) -> None:
        """Tokens, reports and the cancel, each at its instant."""
        statements: list[tuple[int, Callable[[], Awaitable[None]]]] = [(at, self._join) for at in self.history.tokens]
        statements += [(report.said, partial(self._report, report.outcome)) for report in self.history.reports]
        if self.history.cancelled is not None:
            statements.append((self.history.cancelled, self._cancel))
        for at, say in sorted(statements, key=lambda statement: statement[0]):
            await sleep_until(self.origin + at)
            await say()

    async def _join(self) -> None:
        asked = wall()
        seat = await self.deployment.join(self.interview_id)
        if self.seat is None:
            # a candidate that had to wait for its token comes later by as much
            self.origin += wall() - asked if wall() - asked > SECOND else 0
            self.seat = seat
            place = Place(seat.room_name, seat.identity, self.origin, seat.metadata)
            self.world.add(self.history, place, on_change=self.changed.set)
            self.seated.set()

    async def _report(self, outcome: str) -> None:
        await self.deployment.complete(self.interview_id, self.seat.room_name if self.seat else "", outcome)

    async def _cancel(self) -> None:
        await self.deployment.cancel(self.interview_id)

    # LiveKit

    async def _tell(self, group: asyncio.TaskGroup) -> None:
        """Send every event off at its instant, also those that the deployment brings about by its own doings."""
        await self.seated.wait()
        until = self.origin + self.history.over + round(self.options.goodbye * SECOND)
        while True:
            self.changed.clear()
            event = self._next()
            if event and event.at <= min(until, wall()):
                self.told.add(event.id)
                self._send_off(event, group)
            elif until > wall():
                next_at = min(until, event.at) if event else until
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), max(0, next_at - wall()) / SECOND)
            else:
                break
        self.queue.put_nowait(None)

    def _next(self) -> Event | None:
        upcoming = self.world.upcoming(self.seat.room_name) if self.seat else []
        return next((event for event in upcoming if event.id not in self.told), None)

    def _send_off(self, event: Event, group: asyncio.TaskGroup) -> None:
        drawn = fate(self.options.rates, self.rng)
        if drawn.lost:
            self.webhooks["lost"] += 1
            self.lost.append(event)
            return
        if self.options.rates.in_order:
            self.queue.put_nowait((event, drawn.delays))
        else:
            for delay in drawn.delays:
                group.create_task(self._deliver(event.at + delay, event))
        self.webhooks["repeated"] += len(drawn.delays) - 1

    async def _work_queue(self, group: asyncio.TaskGroup) -> None:
        """One after the other, as LiveKit's queue of a room does: what can't be delivered holds up what follows.

        A repetition comes after its first delivery, or it would be an event out of order.
        """
        while item := await self.queue.get():
            event, (first, *again) = item
            await self._deliver(event.at + first, event)
            for delay in again:
                group.create_task(self._deliver(event.at + delay, event))

    async def _deliver(self, due: int, event: Event) -> None:
        await sleep_until(due)
        if wall() - due > DROPPED_AFTER:
            return self._drop(event)
        first = wall()
        for offset in TRIES:
            await sleep_until(first + offset * SECOND)
            status = await self.deployment.webhook(event)
            if status is not None and status != 429 and status < 500:
                self.webhooks["delivered" if status < 300 else "refused"] += 1
                return None
        return self._drop(event)

    def _drop(self, event: Event) -> None:
        self.webhooks["dropped"] += 1
        self.lost.append(event)

    # The verdict

    async def _asked(self) -> Json:
        """What the deployment says once it has to know; asked again for a while, for it may be busy."""
        await sleep_until(self.origin + self.history.over + round(self.options.settled_after * SECOND))
        until = wall() + self.options.patience * SECOND
        while True:
            said = await self.deployment.read(self.interview_id)
            if (said["status"], said.get("endReason")) == self._expected() or wall() > until:
                return said
            await asyncio.sleep(2)

    def _expected(self) -> tuple[str, str | None]:
        return self.history.expected.status, self.history.expected.end_reason

    def _outcome(self, said: Json | None, error: str = "") -> Outcome:
        shortest = self.history.shortest_visit
        expected = self.history.expected
        return Outcome(
            name=self.history.name,
            kind=self.history.kind,
            interview_id=self.interview_id,
            expected=replace(expected, started=self._wall(expected.started), ended=self._wall(expected.ended)),
            actual=_said(said) if said else None,
            determined=not any(_decides(event) for event in self.lost),
            brief=shortest is not None and shortest < self.options.rates.late * SECOND,
            error=error,
        )

    def _wall(self, at: int | None) -> int | None:
        return None if at is None else at + self.origin


def _said(said: Json) -> Expected:
    return Expected(said["status"], said.get("endReason"), instant(said.get("startedAt")), instant(said.get("endedAt")))


def _decides(event: Event) -> bool:
    """Whether the end may hang on this event: all else can be had by asking LiveKit."""
    return (
        event.name == "participant_left"
        and event.visit is not None
        and event.visit.role in (Role.CANDIDATE, Role.AGENT)
    )

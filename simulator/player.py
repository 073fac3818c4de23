"""Plays one history against a deployment in real time: as the candidate, agent, recruiter and LiveKit."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random

from simulator.delivery import draw_delays
from simulator.deployment import DeploymentClient, JoinResult, Rejected, datetime_of, parse_instant
from simulator.events import Event, Json, Placement
from simulator.history import SECOND, History, Result, Role
from simulator.livekit_state import LiveKitState
from simulator.options import Options
from simulator.report import Comparison

ATTEMPTS = (0, 1, 3, 7, 15)  # seconds after the first one at which LiveKit attempts to deliver a webhook
DROPPED_AFTER = 30_000  # milliseconds in its queue after which LiveKit drops an event silently
LEAD = 1_000  # milliseconds before its start at which an interview is created
POLL_INTERVAL = 2  # seconds


def now_millis() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def sleep_until(at: int) -> None:
    await asyncio.sleep(max(0, at - now_millis()) / SECOND)


class Player:
    """Plays one interview. `origin` is the start of its history, in milliseconds since 1970."""

    def __init__(
        self,
        deployment: DeploymentClient,
        state: LiveKitState,
        history: History,
        origin: int,
        rng: Random,
        webhooks: Counter[str],
    ) -> None:
        self.deployment = deployment
        self.state = state
        self.history = history
        self.origin = origin
        self.rng = rng
        self.webhooks = webhooks
        self.options: Options = deployment.options
        self.interview_id = ""
        self.join_result: JoinResult | None = None
        self.joined = asyncio.Event()
        self.changed = asyncio.Event()
        self.sent: set[str] = set()
        self.lost: list[Event] = []
        self.queue: asyncio.Queue[tuple[Event, tuple[int, ...]] | None] = asyncio.Queue()

    async def play(self) -> Comparison:
        """Play the history to its end. Errors become part of the comparison."""
        try:
            await self._play()
            return self._compare(await self._read_result())
        except* (Rejected, TimeoutError) as errors:
            error = errors
        return self._compare(None, str(error.exceptions[0]))

    async def _play(self) -> None:
        await sleep_until(self.origin - LEAD)
        closes = self.history.closes
        closes_at = None if closes is None else datetime_of(self.origin + closes)
        self.interview_id = await self.deployment.schedule(self.history, closes_at)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._call_api())
            if self.history.connections:
                group.create_task(self._send_events(group))
                group.create_task(self._work_queue(group))

    # Candidate, agent, recruiter

    async def _call_api(self) -> None:
        """Join, report and cancel at their instants."""
        calls: list[tuple[int, Callable[[], Awaitable[None]]]] = [(at, self._join) for at in self.history.tokens]
        calls += [(report.at, partial(self._report, report.outcome)) for report in self.history.reports]
        if self.history.cancelled is not None:
            calls.append((self.history.cancelled, self._cancel))
        for at, call in sorted(calls, key=lambda pair: pair[0]):
            await sleep_until(self.origin + at)
            await call()

    async def _join(self) -> None:
        began = now_millis()
        join_result = await self.deployment.join(self.interview_id)
        if self.join_result is None:
            # a candidate that waited long for its token connects later by as much
            self.origin += now_millis() - began if now_millis() - began > SECOND else 0
            self.join_result = join_result
            placement = Placement(join_result.room_name, join_result.identity, self.origin, join_result.metadata)
            self.state.add(self.history, placement, on_change=self.changed.set)
            self.joined.set()

    async def _report(self, outcome: str) -> None:
        room_name = self.join_result.room_name if self.join_result else ""
        await self.deployment.complete(self.interview_id, room_name, outcome)

    async def _cancel(self) -> None:
        await self.deployment.cancel(self.interview_id)

    # LiveKit

    async def _send_events(self, group: asyncio.TaskGroup) -> None:
        """Send every event at its instant, also those that the deployment causes, for example by deleting the room."""
        await self.joined.wait()
        until = self.origin + self.history.end + round(self.options.drain * SECOND)
        while True:
            self.changed.clear()
            event = self._next_event()
            if event and event.at <= min(until, now_millis()):
                self.sent.add(event.id)
                self._send(event, group)
            elif until > now_millis():
                next_at = min(until, event.at) if event else until
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), max(0, next_at - now_millis()) / SECOND)
            else:
                break
        self.queue.put_nowait(None)

    def _next_event(self) -> Event | None:
        events = self.state.events(self.join_result.room_name) if self.join_result else []
        return next((event for event in events if event.id not in self.sent), None)

    def _send(self, event: Event, group: asyncio.TaskGroup) -> None:
        delays = draw_delays(self.options.faults, self.rng)
        if not delays:
            self.webhooks["lost"] += 1
            self.lost.append(event)
            return
        if self.options.faults.in_order:
            self.queue.put_nowait((event, delays))
        else:
            for delay in delays:
                group.create_task(self._deliver(event.at + delay, event))
        self.webhooks["repeated"] += len(delays) - 1

    async def _work_queue(self, group: asyncio.TaskGroup) -> None:
        """Deliver the events of the room one by one, as LiveKit's queue does: a failing one delays those behind it.

        A repeated event is sent after its first delivery, so that events stay in order.
        """
        while item := await self.queue.get():
            event, (first, *repeats) = item
            await self._deliver(event.at + first, event)
            for delay in repeats:
                group.create_task(self._deliver(event.at + delay, event))

    async def _deliver(self, due: int, event: Event) -> None:
        await sleep_until(due)
        if now_millis() - due > DROPPED_AFTER:
            return self._drop(event)
        first = now_millis()
        for offset in ATTEMPTS:
            await sleep_until(first + offset * SECOND)
            status = await self.deployment.webhook(event)
            if status is not None and status != 429 and status < 500:
                self.webhooks["delivered" if status < 300 else "refused"] += 1
                return None
        return self._drop(event)

    def _drop(self, event: Event) -> None:
        self.webhooks["dropped"] += 1
        self.lost.append(event)

    # The result

    async def _read_result(self) -> Json:
        """Return the interview once the deployment must show the result. Polls for a while, as it may be busy."""
        await sleep_until(self.origin + self.history.end + round(self.options.settled_after * SECOND))
        deadline = now_millis() + self.options.patience * SECOND
        expected = self.history.expected
        while True:
            interview = await self.deployment.read(self.interview_id)
            actual = (interview["status"], interview.get("endReason"))
            if actual == (expected.status, expected.end_reason) or now_millis() > deadline:
                return interview
            await asyncio.sleep(POLL_INTERVAL)

    def _compare(self, interview: Json | None, error: str = "") -> Comparison:
        shortest = self.history.shortest_connection
        expected = self.history.expected
        return Comparison(
            name=self.history.name,
            scenario=self.history.scenario,
            interview_id=self.interview_id,
            expected=replace(expected, started=self._absolute(expected.started), ended=self._absolute(expected.ended)),
            actual=_result_of(interview) if interview else None,
            determinable=not any(_is_decisive(event) for event in self.lost),
            short_connection=shortest is not None and shortest < self.options.faults.max_delay * SECOND,
            error=error,
        )

    def _absolute(self, at: int | None) -> int | None:
        return None if at is None else at + self.origin


def _result_of(interview: Json) -> Result:
    return Result(
        interview["status"],
        interview.get("endReason"),
        parse_instant(interview.get("startedAt")),
        parse_instant(interview.get("endedAt")),
    )


def _is_decisive(event: Event) -> bool:
    """Return whether the result may depend on this event: LiveKit's API shows everything else."""
    return (
        event.name == "participant_left"
        and event.connection is not None
        and event.connection.role in (Role.CANDIDATE, Role.AGENT)
    )

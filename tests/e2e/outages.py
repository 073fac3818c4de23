"""A stack with its own settings, and operations on it that only tests use."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import asyncpg
from livekit import rtc

from tests.e2e.agent import Agent
from tests.e2e.candidate import Candidate
from tests.e2e.conditions import eventually
from tests.e2e.interview import Interview
from tests.e2e.service import Service
from tests.e2e.stack import Stack


class OwnStack(Protocol):
    """The type of the fixture `own_stack`: settings by their environment names."""

    def __call__(self, *, replicas: int = 0, **settings: str | int) -> AbstractContextManager[Stack]: ...


async def execute(stack: Stack, statement: str, *values: object) -> None:
    """Execute a statement in the service's database."""
    connection = await asyncpg.connect(stack.service.env["DATABASE_URL"])
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def fetch(stack: Stack, query: str, *values: object) -> Any:
    """Read one value from the service's database."""
    connection = await asyncpg.connect(stack.service.env["DATABASE_URL"])
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


async def shorten(interview: Interview, seconds: int) -> None:
    """Set a maxDuration below the API's minimum of a minute, before the interview starts."""
    await execute(interview.stack, "UPDATE interviews SET max_duration = $1 WHERE id::text = $2", seconds, interview.id)


async def rounds(stack: Stack, count: int) -> None:
    """Wait for so many more rounds of the reconciler."""
    for _ in range(count):
        before = await fetch(stack, "SELECT last_run FROM ticks WHERE name = 'reconcile'")
        await eventually(partial(fetch, stack, "SELECT last_run > $1 FROM ticks WHERE name = 'reconcile'", before))


@dataclass(frozen=True)
class Audited:
    """The output and the exit code of `interviews audit`."""

    code: int
    output: str


def audit(service: Service) -> Audited:
    """Run `interviews audit` beside a service, with its settings."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "audit"],
        env=service.env,
        cwd=service.log.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return Audited(done.returncode, done.stdout)


def seconds_left(packets: Sequence[rtc.DataPacket]) -> list[int]:
    """Return the service's announcements; packets of the service have no sender."""
    return [
        json.loads(packet.data)["secondsLeft"]
        for packet in packets
        if packet.topic == "interview.time" and packet.participant is None
    ]


def is_out(client: Candidate | Agent, reason: str = "ROOM_DELETED") -> Callable[[], bool]:
    """Return a function that returns whether the client was disconnected for that reason."""
    return lambda: client.disconnect_reason == reason

import asyncio
import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import until

from interview_agent.timekeeping import Countdown, announced_seconds


def packet(data: bytes, *, topic: str = "interview.time", sender: object = None) -> Any:
    return SimpleNamespace(data=data, topic=topic, participant=sender)


def test_the_services_announcement_is_read() -> None:
    assert announced_seconds(packet(b'{"secondsLeft": 300}')) == 300


@pytest.mark.parametrize(
    "other",
    [
        packet(b'{"secondsLeft": 1}', sender=object()),
        packet(b'{"secondsLeft": 1}', topic="chat"),
        packet(b"\xff"),
        packet(b"[]"),
        packet(b'{"secondsLeft": true}'),
        packet(json.dumps({"secondsLeft": "1"}).encode()),
    ],
)
def test_anything_else_is_passed_over(other: Any) -> None:
    assert announced_seconds(other) is None


def test_only_less_time_is_believed() -> None:
    countdown = Countdown(100)
    countdown.lower(200)
    assert 99 < countdown.seconds_left <= 100
    countdown.lower(50)
    assert 49 < countdown.seconds_left <= 50
    countdown.lower(-1)
    assert countdown.seconds_left == 0


async def test_each_mark_is_called_once() -> None:
    called = []

    async def handler(seconds: float) -> None:
        called.append(seconds)

    countdown = Countdown(310)
    marks = asyncio.ensure_future(countdown.call_at_marks(handler))
    await asyncio.sleep(0)
    for seconds, expected in [(300, [300]), (59, [300, 60]), (58, [300, 60]), (20, [300, 60, 20])]:
        countdown.lower(seconds)
        await until(partial(called.__eq__, expected))
    await marks
    assert called == [300, 60, 20]


@pytest.mark.parametrize(("left", "expected"), [(0, [20]), (15, [20])])
async def test_whoever_starts_late_still_says_goodbye(left: float, expected: list[float]) -> None:
    called = []

    async def handler(seconds: float) -> None:
        called.append(seconds)

    await Countdown(left).call_at_marks(handler)
    assert called == expected

"""derive() takes time in proportion to an attempt's sessions: one token can make thousands of them.

`make bench BENCH=reconnects` measures it; here a busy machine is allowed for.
"""

from collections.abc import Callable

import pytest

from app.lifecycle import Facts
from benchmarks.sessions import SHAPES, seconds_to_derive

MOST = 5 * 0.150  # seconds for 4,000 sessions: five times the goal
FOUR_TIMES = 8  # times as long for four times the sessions; 16 would be quadratic


@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_the_sessions_take_about_four_times_as_long(shape: Callable[[int], Facts]) -> None:
    few, many = seconds_to_derive(shape(1000)), seconds_to_derive(shape(4000))
    assert many < MOST
    assert many / few < FOUR_TIMES

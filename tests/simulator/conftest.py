"""A simulated LiveKit whose clock the test sets."""

import pytest

from simulator.livekit_state import LiveKitState
from tests.simulator.samples import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state(clock: ManualClock) -> LiveKitState:
    return LiveKitState(clock)

"""Faults in the delivery of events."""

from dataclasses import replace

import pytest

from simulator.delivery import Faults, draw_delays, schedule
from simulator.events import Event, events_of
from simulator.scenarios.registry import generate
from simulator.timing import Timing
from tests.simulator.samples import PLACEMENT, rng


def all_events(count: int = 200) -> list[Event]:
    made = generate(rng("delivery"), count, Timing())
    return [
        event for n, each in enumerate(made) for event in events_of(each, replace(PLACEMENT, room_name=f"room-{n}"))
    ]


def test_without_faults_all_events_arrive_at_once() -> None:
    found = all_events()
    assert [(d.at, d.event) for d in schedule(found, Faults(), rng(1))] == sorted(
        ((e.at, e) for e in found), key=lambda pair: pair[0]
    )


def test_faults_occur_at_their_rates() -> None:
    found = all_events(500)
    arrived = schedule(found, Faults(lost=0.3, repeated=0.2, max_delay=30), rng(1))
    first = {delivery.event.id for delivery in arrived}
    assert len(first) / len(found) == pytest.approx(0.7, abs=0.03)
    assert (len(arrived) - len(first)) / len(first) == pytest.approx(0.2, abs=0.03)
    assert all(0 <= delivery.at - delivery.event.at <= 60_000 for delivery in arrived)


def test_events_of_a_room_stay_in_order_unless_reordered() -> None:
    found = all_events()

    def disorder(faults: Faults) -> int:
        last: dict[str, int] = {}
        wrong = 0
        for delivery in schedule(found, faults, rng(1)):
            wrong += delivery.event.at < last.get(delivery.event.room_name, 0)
            last[delivery.event.room_name] = delivery.event.at
        return wrong

    assert disorder(Faults(max_delay=30)) == 0
    assert disorder(Faults(max_delay=30, in_order=False)) > 0


def test_a_schedule_depends_only_on_its_random_generator() -> None:
    found, faults = all_events(), Faults(lost=0.1, repeated=0.1, max_delay=5)
    assert schedule(found, faults, rng(1)) == schedule(found, faults, rng(1))
    assert draw_delays(faults, rng(1)) == draw_delays(replace(faults, repeated=0.1), rng(1))

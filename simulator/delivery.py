"""Network faults between LiveKit and the deployment: webhook events that are lost, repeated, late or out of order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from simulator.events import Event
from simulator.history import millis


@dataclass(frozen=True, slots=True)
class Faults:
    """`lost` and `repeated` are shares of the events, 0 to 1. Each event is late by up to `max_delay` seconds.

    Events of different rooms may overtake each other. Events of one room do so only if `in_order` is false; LiveKit
    itself keeps their order.
    """

    lost: float = 0.0
    repeated: float = 0.0
    max_delay: float = 0.0
    in_order: bool = True


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on arrival, `at` milliseconds since 1970."""

    at: int
    event: Event


def draw_delays(faults: Faults, rng: Random) -> tuple[int, ...]:
    """Return the delay of each delivery of one event, in milliseconds; empty if the event is lost.

    It always draws four numbers, so changing one fault leaves the random numbers of the others as they are.
    """
    lost, repeated, delay, repeat_delay = (rng.random() for _ in range(4))
    first = millis(delay * faults.max_delay)
    if lost < faults.lost:
        return ()
    if repeated < faults.repeated:
        return (first, first + millis(repeat_delay * max(faults.max_delay, 1)))
    return (first,)


def schedule(events: Iterable[Event], faults: Faults, rng: Random) -> list[Delivery]:
    """Return the deliveries of these events, of any number of rooms, sorted by time."""
    return sorted(_deliveries(events, faults, rng), key=lambda delivery: delivery.at)


def _deliveries(events: Iterable[Event], faults: Faults, rng: Random) -> Iterator[Delivery]:
    last_arrivals: dict[str, int] = {}  # by room
    for event in events:
        delays = draw_delays(faults, rng)
        if not delays:
            continue
        first = event.at + delays[0]
        if faults.in_order:
            first = max(first, last_arrivals.get(event.room_name, 0))
            last_arrivals[event.room_name] = first
        yield Delivery(first, event)
        for delay in delays[1:]:
            yield Delivery(max(first, event.at + delay), event)

"""What becomes of LiveKit's events on their way: lost, repeated, late, in LiveKit's order within a room or in none."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from simulator.events import Event
from simulator.history import millis


@dataclass(frozen=True, slots=True)
class Rates:
    """`lost` and `repeated` are shares of the events; every event is `late` by up to so many seconds.

    Rooms overtake each other in any case. `in_order` keeps LiveKit's order within a room, as its queue does.
    """

    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    in_order: bool = True


@dataclass(frozen=True, slots=True)
class Fate:
    """The delays, in milliseconds, after which an event is delivered, each time it is; none if it is lost."""

    delays: tuple[int, ...]

    @property
    def lost(self) -> bool:
        return not self.delays


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on arrival, `at` milliseconds since 1970."""

    at: int
    event: Event


def fate(rates: Rates, rng: Random) -> Fate:
    """Draw one event's fate. Always as many draws, so that changing one rate leaves the other draws as they are."""
    lost, repeated, late, again = (rng.random() for _ in range(4))
    first = millis(late * rates.late)
    if lost < rates.lost:
        return Fate(())
    if repeated < rates.repeated:
        return Fate((first, first + millis(again * max(rates.late, 1))))
    return Fate((first,))


def schedule(events: Iterable[Event], rates: Rates, rng: Random) -> list[Delivery]:
    """When each event arrives: events of any number of rooms, those of one room in its queue's order."""
    return sorted(_deliveries(events, rates, rng), key=lambda delivery: delivery.at)


def _deliveries(events: Iterable[Event], rates: Rates, rng: Random) -> Iterator[Delivery]:
    queues: dict[str, int] = {}  # when the last event of a room arrived
    for event in events:
        drawn = fate(rates, rng)
        if drawn.lost:
            continue
        first = event.at + drawn.delays[0]
        if rates.in_order:
            first = max(first, queues.get(event.room_name, 0))
            queues[event.room_name] = first
        yield Delivery(first, event)
        for again in drawn.delays[1:]:
            yield Delivery(max(first, event.at + again), event)

"""Attempts with many sessions, a kind for each way in which a rule could become slow, for derive()."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.lifecycle import Connection, Facts, Outcome, Role, Room, derive

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
LONG_AFTER = START + timedelta(days=90)
REPEATED = 7  # the least of so many times is what it takes; the others were disturbed


def _at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _session(
    number: int, role: Role, joined: float, left: float | None, *, room: str = "RM_0", outcome: Outcome | None = None
) -> Connection:
    return Connection(
        sid=f"PA_{role}_{number}",
        room_sid=room,
        identity="candidate-c" if role is Role.CANDIDATE else f"agent-{number}",
        role=role,
        joined_at=_at(joined),
        joined_order=2 * number,
        left_at=None if left is None else _at(left),
        left_order=None if left is None else 2 * number + 1,
        leave_reason=None if left is None else "CLIENT_INITIATED",
        outcome=outcome,
    )


def _candidates(count: int, *, every: float = 10, stay: float | None = 5, room: str = "RM_0") -> list[Connection]:
    stays = [(every * number, None if stay is None else every * number + stay) for number in range(count)]
    return [_session(number, Role.CANDIDATE, joined, left, room=room) for number, (joined, left) in enumerate(stays)]


def _facts(connections: list[Connection], rooms: int = 1) -> Facts:
    return Facts(
        max_duration=timedelta(days=30),
        closes_at=_at(60),
        connections=tuple(connections),
        rooms=tuple(Room(f"RM_{number}", _at(10 * number)) for number in range(rooms)),
        first_token_at=START,
        last_token_at=START,
        checked_at=LONG_AFTER,
    )


def reconnects(count: int) -> Facts:
    """The candidate reconnects again and again, alone."""
    return _facts(_candidates(count))


def reconnects_beside_an_agent(count: int) -> Facts:
    return _facts([_session(0, Role.AGENT, 0, None), *_candidates(count)])


def lost_leaves(count: int) -> Facts:
    """LiveKit reported no leave, so each is inferred from the next join."""
    return _facts(_candidates(count, stay=None))


def long_absences(count: int) -> Facts:
    """Each absence is longer than the grace."""
    return _facts(_candidates(count, every=1000))


def agents_in_turn(count: int) -> Facts:
    agents = [_session(n, Role.AGENT, 10 * n, 10 * n + 5, outcome=Outcome.PENDING) for n in range(1, count)]
    return _facts([_session(0, Role.CANDIDATE, 0, None), *agents])


def agents_at_once(count: int) -> Facts:
    return _facts([_session(n, Role.AGENT, n, None) for n in range(1, count)] + _candidates(1))


def rooms_in_turn(count: int) -> Facts:
    """Each join makes a new room of the name."""
    sessions = [_session(n, Role.CANDIDATE, 10 * n, None, room=f"RM_{n}") for n in range(count)]
    return _facts(sessions, rooms=count)


SHAPES: tuple[Callable[[int], Facts], ...] = (
    reconnects,
    reconnects_beside_an_agent,
    lost_leaves,
    long_absences,
    agents_in_turn,
    agents_at_once,
    rooms_in_turn,
)


def seconds_to_derive(facts: Facts) -> float:
    """Return the CPU time of derive(), undisturbed."""

    def once() -> float:
        began = time.process_time()
        derive(facts, LONG_AFTER)
        return time.process_time() - began

    return min(once() for _ in range(REPEATED))

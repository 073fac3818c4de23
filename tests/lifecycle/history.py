"""A short notation for facts: seconds after T0, orders in the sequence in which they are written."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.lifecycle import Connection, Derived, Facts, Outcome, Report, Role, Room, derive

T0 = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
LONG_AFTER = 10_000.0  # seconds: every deadline of a short history is due


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def candidate(joined: float, left: float | None = None, reason: str = "CLIENT_INITIATED", **more: Any) -> Connection:
    return _connection(Role.CANDIDATE, "candidate-c", joined, left, reason, **more)


def agent(joined: float, left: float | None = None, reason: str = "CLIENT_INITIATED", **more: Any) -> Connection:
    return _connection(Role.AGENT, f"agent-{joined}", joined, left, reason, **more)


def _connection(role: Role, identity: str, joined: float, left: float | None, reason: str, **more: Any) -> Connection:
    """A leave is given as the instant that counts: the end of its second. Orders follow the instants unless given."""
    given: dict[str, Any] = {
        "sid": f"PA_{role}_{joined}",
        "room_sid": "RM_1",
        "identity": identity,
        "role": role,
        "joined_at": at(joined),
        "joined_order": int(joined * 1000),
        "left_at": None if left is None else at(left),
        "left_order": None if left is None else int(left * 1000),
        "leave_reason": None if left is None else reason,
    }
    return Connection(**given | more)


def room(sid: str = "RM_1", created: float = 0, ended: float | None = None) -> Room:
    return Room(sid, at(created), None if ended is None else at(ended))


def report(seconds: float, outcome: Outcome = Outcome.COMPLETED) -> Report:
    return Report(at(seconds), outcome)


def facts(*connections: Connection, **more: Any) -> Facts:
    return Facts(**{"max_duration": timedelta(seconds=1800), "connections": connections, **more})


def derive_checked(given: Facts, now: float = LONG_AFTER) -> Derived:
    """Derive with LiveKit asked just now, so that whatever deadline is due is decided."""
    return derive(replace(given, checked_at=at(now)), at(now))


def ended(given: Facts, now: float = LONG_AFTER) -> tuple[str, str | None, float | None]:
    """Return status, end reason and the end's instant in seconds after T0."""
    found = derive_checked(given, now)
    ended = (found.ended_at - T0).total_seconds() if found.ended_at else None
    return found.status.value, found.end_reason.value if found.end_reason else None, ended

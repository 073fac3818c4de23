"""Statuses, facts and derive(): the rules of an interview's life, without I/O. The table is in docs/status.md."""

from app.lifecycle.derive import WAITS, AgentThere, Derived, RoomGone, TimeTold, Wish, derive
from app.lifecycle.end_rules import End
from app.lifecycle.facts import (
    CONNECTION_TIMEOUT,
    UNKNOWN,
    Connection,
    Decision,
    Facts,
    Outcome,
    Report,
    Role,
    Room,
    Waits,
)
from app.lifecycle.presence import Visit, moments, visits
from app.lifecycle.status import TERMINAL, EndReason, PublicStatus, Status, public_status

__all__ = [
    "CONNECTION_TIMEOUT",
    "TERMINAL",
    "UNKNOWN",
    "WAITS",
    "AgentThere",
    "Connection",
    "Decision",
    "Derived",
    "End",
    "EndReason",
    "Facts",
    "Outcome",
    "PublicStatus",
    "Report",
    "Role",
    "Room",
    "RoomGone",
    "Status",
    "TimeTold",
    "Visit",
    "Waits",
    "Wish",
    "derive",
    "moments",
    "public_status",
    "visits",
]

"""Statuses, facts and derive(): the rules of an interview's life, without I/O. The table is in docs/status.md."""

from app.lifecycle.causes import End
from app.lifecycle.derive import WAITS, AgentThere, Derived, RoomGone, Wish, derive
from app.lifecycle.facts import (
    TERMINAL,
    Connection,
    Decision,
    EndReason,
    Facts,
    Outcome,
    Report,
    Role,
    Room,
    Status,
    Waits,
)
from app.lifecycle.presence import Visit, moments, visits

__all__ = [
    "TERMINAL",
    "WAITS",
    "AgentThere",
    "Connection",
    "Decision",
    "Derived",
    "End",
    "EndReason",
    "Facts",
    "Outcome",
    "Report",
    "Role",
    "Room",
    "RoomGone",
    "Status",
    "Visit",
    "Waits",
    "Wish",
    "derive",
    "moments",
    "visits",
]

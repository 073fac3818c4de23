"""Statuses, facts and derive(): the rules of an interview's life, without I/O. The table is in docs/status.md."""

from app.lifecycle.derive import WAITS, AnnounceTimeLeft, DeleteRoom, Derived, DispatchAgent, Effect, derive
from app.lifecycle.end_rules import EndCandidate
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
    Timeouts,
)
from app.lifecycle.presence import ParticipantSession, participant_sessions, presence_changes
from app.lifecycle.status import TERMINAL, EndReason, PublicStatus, Status, public_status

__all__ = [
    "CONNECTION_TIMEOUT",
    "TERMINAL",
    "UNKNOWN",
    "WAITS",
    "AnnounceTimeLeft",
    "Connection",
    "Decision",
    "DeleteRoom",
    "Derived",
    "DispatchAgent",
    "Effect",
    "EndCandidate",
    "EndReason",
    "Facts",
    "Outcome",
    "ParticipantSession",
    "PublicStatus",
    "Report",
    "Role",
    "Room",
    "Status",
    "Timeouts",
    "derive",
    "participant_sessions",
    "presence_changes",
    "public_status",
]
